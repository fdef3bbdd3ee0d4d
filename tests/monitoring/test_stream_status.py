"""The monitor reads Kafka and gold while other processes write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from gold.tables import DECISIONS, STREAM_HEALTH
from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake, writer_lock
from monitoring import stream_status
from monitoring.stream_status import PartitionLag, is_written, lag, recent
from streaming.kafka.broker import Broker
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import with_topics


@pytest.fixture
def kafka(settings: Settings, shared_broker: Broker) -> Iterator[KafkaSettings]:
    """Settings with a separate group and topics, and ten messages in each of two partitions."""
    kafka = with_topics(settings, shared_broker, "monitor").kafka
    kafka = kafka.model_copy(update={"group": f"monitor-{time.time_ns()}"})
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for number in range(20):
        producer.send(kafka.input.name, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()
    yield kafka
    with admin_client(kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([kafka.input.name])


def test_the_lag_counts_uncommitted_messages(kafka: KafkaSettings, shared_broker: Broker) -> None:
    topic, servers = kafka.input.name, shared_broker.bootstrap_servers
    assert [(one.committed, one.lag) for one in lag(kafka, servers, kafka.group, topic)] == [(None, 10), (None, 10)]
    with admin_client(kafka, servers) as admin:
        admin.alter_group_offsets(kafka.group, {TopicPartition(topic, 0): OffsetAndMetadata(7, "", -1)})
    first, second = lag(kafka, servers, kafka.group, topic)
    assert (first.begin, first.end, first.committed, first.lag) == (0, 10, 7, 3)
    assert (second.committed, second.lag) == (None, 10)
    with pytest.raises(ComplaintsError, match="There is no topic nothing at"):
        lag(kafka, servers, kafka.group, "nothing")


@pytest.mark.parametrize(
    ("rate", "arriving", "waiting", "seconds"),
    [(20.0, 10.0, 100, 10.0), (10.0, 10.0, 100, None), (0.0, 0.0, 0, 0.0), (5.0, 10.0, 1, None)],
)
def test_the_time_to_catch_up_is_unknown_unless_the_lag_shrinks(
    rate: float, arriving: float, waiting: int, seconds: float | None
) -> None:
    one = PartitionLag("t", 0, 0, 100, 100 - waiting, waiting, rate, arriving)
    assert one.seconds_to_catch_up == seconds


def test_the_last_minutes_are_read_from_gold(trained: Trained, settings: Settings) -> None:
    lake = copy_of(trained, settings.folder)
    lake.create(TABLES)
    _write(lake, STREAM_HEALTH, {"query": "score", "batch_id": 7, "rows": 84, "batch_ms": 300, "lag_rows": None})
    _write(lake, STREAM_HEALTH, {"query": "ingest", "batch_id": 9, "rows": 84, "batch_ms": 200, "lag_rows": 5})
    decided = {"urgency": "high", "team": "Fraud", "probability": 0.25, "scored_with": "text", "complaint_id": 1}
    decided |= {"reasons": [{"rule": "r", "reason": "Because.", "basis": "b"}]}
    _write(lake, DECISIONS, decided)
    health = recent(settings, stream_status.HEALTH)
    assert [row[:2] for row in health.rows] == [("ingest", 9), ("score", 7)]
    assert [row[health.columns.index("lag_rows")] for row in health.rows] == [5, None]
    assert {row[1]: row[2] for row in recent(settings, stream_status.THROUGHPUT).rows} == {"ingest": 84, "score": 84}
    ((_, decisions, p50, *_),) = recent(settings, stream_status.LATENCY).rows
    assert decisions == 1
    assert p50 == pytest.approx(2000, abs=1)
    of = {(row[0], row[1]): row[2:] for row in recent(settings, stream_status.DISTRIBUTION).rows}
    assert of == {("urgency", "high"): (1, 1), ("team", "Fraud"): (1, 1), ("score", "0.2 to 0.3"): (1, 1)}
    ((complaint, *_, reasons),) = recent(settings, stream_status.SAMPLES).rows
    assert (complaint, reasons) == (1, ["Because."])


def _write(lake: Lake, table: Table, values: dict[str, object]) -> None:
    """Append one row with times 30 seconds ago."""
    now = datetime.now(UTC) - timedelta(seconds=30)
    filler = {"string": "x", "bigint": 1, "double": 0.5, "boolean": False}
    times = {"started_at": now, "scored_at": now, "kafka_timestamp": now - timedelta(seconds=2)}
    filled = {column.name: filler.get(column.type) for column in table.columns}
    lake.append(lake.frame([{**filled, **times, **values}], table), table, "test:0")


def test_a_lake_counts_as_written_while_a_process_holds_the_writer_lock(settings: Settings) -> None:
    assert not is_written(settings)
    lock = writer_lock(settings)
    assert is_written(settings)
    lock.release()
    assert not is_written(settings)
