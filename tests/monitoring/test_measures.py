"""What waits in Kafka is counted by its end offsets and the checkpoint, also when no stream runs."""

import os
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer

from bronze.tables import COMPLAINTS, TABLES
from lakehouse.settings import Settings
from lakehouse.tables.lake import Lake
from monitoring.alerts import AlertRule, evaluated
from monitoring.measures import MeasureName, measured, unread_messages
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.status import QUERIES, QueryStatus, StreamStatus, write_status
from tests.stream_fixtures import with_topics


def send(settings: Settings, messages: int) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for number in range(messages):
        producer.send(settings.kafka.input.name, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()


def fires(settings: Settings, name: MeasureName, above: float) -> bool:
    (alert,) = evaluated(
        lambda _: [], partial(measured, settings), [AlertRule(id="mine", measure=name, above=above, says="x")]
    )
    return alert.fires


def test_a_dead_stream_shows_by_what_waits_in_kafka(lake: Lake, shared_broker: Broker) -> None:
    settings = with_topics(lake.settings, shared_broker, f"measures-{time.time_ns()}")
    lake = Lake(lake.spark, settings)
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    lake.create(TABLES)
    send(settings, 20)
    assert unread_messages(settings) == 20
    assert measured(settings, "unread_minutes").reason == "nothing was ever read"

    options = spark_kafka_options(lake, shared_broker.bootstrap_servers)
    Queries(lake).ingest(options, Trigger(until_done=True)).awaitTermination()  # then the stream is gone
    assert lake.read(COMPLAINTS).count() == 20
    assert [measured(settings, name).value for name in ("unread_messages", "unread_minutes")] == [0, 0]

    send(settings, 5)
    assert unread_messages(settings) == 5
    commits = Path(lake.checkpoint("ingest")) / "commits"
    newest = max((path for path in commits.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    read_at = newest.stat().st_mtime
    assert not fires(settings, "unread_minutes", 10)
    os.utime(newest, (read_at - 1200, read_at - 1200))
    assert measured(settings, "unread_minutes").value == pytest.approx(20, abs=3)
    assert fires(settings, "unread_minutes", 10)
    assert not fires(settings, "unread_messages", 5)
    assert fires(settings, "unread_messages", 4)


def test_without_a_broker_there_is_nothing_to_measure_but_one_that_does_not_answer_is_an_alert(
    settings: Settings,
) -> None:
    reading = measured(settings, "unread_messages")
    assert (reading.value, reading.reason) == (
        None,
        "no broker: no stream runs, and kafka.bootstrap_servers is not set",
    )
    assert not fires(settings, "unread_messages", 0)
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})
    assert fires(settings.model_copy(update={"kafka": away}), "unread_messages", 1e9)


@pytest.mark.parametrize(
    ("phase", "minutes", "dead", "silent_minutes", "dead_queries"),
    [
        ("running", 0, 0, 0, 0),
        ("running", 0, 2, 0, 2),
        ("running", 7, 2, 7, 0),  # frozen: what it said about its queries is old
        ("starting", 3, 0, 0, 0),
        ("failed", 3, 0, 3, 0),
    ],
)
def test_a_stream_that_fell_silent_is_measured_and_one_that_was_stopped_is_not(
    settings: Settings, phase: str, minutes: int, dead: int, silent_minutes: float, dead_queries: float
) -> None:
    settings.folder.mkdir()
    assert [measured(settings, name).value for name in ("stream_silent_minutes", "dead_queries")] == [0, 0]
    now = datetime.now(UTC)
    at = now - timedelta(minutes=minutes)
    queries = {name: QueryStatus(number >= dead, 0, at) for number, name in enumerate(QUERIES)}
    write_status(settings.folder, StreamStatus(1, phase, at, at, "m", queries))  # type: ignore[arg-type]
    assert measured(settings, "stream_silent_minutes").value == pytest.approx(silent_minutes, abs=0.2)
    assert measured(settings, "dead_queries").value == dead_queries
