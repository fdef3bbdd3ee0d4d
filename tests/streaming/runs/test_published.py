"""The published decisions of a run are read back from Kafka: each of its complaints once, no others."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.tables.lake import Lake
from streaming.kafka.broker import Broker
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.queries.definitions import spark_kafka_options
from streaming.runs.published import Stretch, published
from streaming.runs.report import Span
from tests.stream_fixtures import with_topics

SINCE = datetime(2024, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def run(settings: Settings, shared_broker: Broker) -> Iterator[Settings]:
    """Settings with separate topics."""
    own = with_topics(settings, shared_broker, "published")
    ensure_topics(own.kafka, shared_broker.bootstrap_servers)
    yield own
    with admin_client(own.kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([own.kafka.input.name, own.kafka.predictions.name])


def publish(settings: Settings, *sent: tuple[str, float] | None) -> None:
    """Publish decisions on records, seconds after their complaints arrived; None is an erased one."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for one in sent:
        value = one and json.dumps({"record_id": one[0], "kafka_timestamp": SINCE.isoformat()}).encode()
        at = SINCE + timedelta(seconds=one[1] if one else 0)
        key, milliseconds = b"1", round(at.timestamp() * 1000)
        producer.send(settings.kafka.predictions.name, value, key=key, timestamp_ms=milliseconds, partition=0)
    producer.flush()
    producer.close()


def read_back(spark: SparkSession, settings: Settings, end: int) -> dict[str, float]:
    topic, span = settings.kafka.predictions.name, Span(settings.kafka.input.name, {0: 100}, SINCE)
    options = spark_kafka_options(Lake(spark, settings), str(settings.kafka.bootstrap_servers))
    rows = published(spark, options, Stretch(topic, {0: 1}, {0: end, 1: 0}), span).collect()
    assert all(row.kafka_timestamp.astimezone(UTC) == SINCE for row in rows)
    found = {row.record_id: row.waited_ms for row in rows}
    assert len(found) == len(rows)
    return found


def test_only_the_runs_own_complaints_are_found_with_the_time_of_their_first_publication(
    spark: SparkSession, run: Settings
) -> None:
    topic = run.kafka.input.name
    publish(
        run,
        (f"{topic}/0/100", 1.0),  # published before the run's own messages
        (f"{topic}/0/100", 2.0),
        None,
        (f"{topic}/0/99", 2.0),  # from an earlier run
        ("0123456789abcdef:a.csv:7", 2.0),  # from a file
        ("other/0/100", 2.0),
        (f"{topic}/0/100", 9.0),  # published again
        (f"{topic}/1/0", 3.0),
        (f"{topic}/0/101", 4.0),  # after the requested end
    )
    assert read_back(spark, run, 8) == {f"{topic}/0/100": 2000.0, f"{topic}/1/0": 3000.0}


def test_an_empty_topic_has_no_waits(spark: SparkSession, run: Settings) -> None:
    assert read_back(spark, run, 1) == {}
