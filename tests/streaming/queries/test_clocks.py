"""A wrong clock of the sender or the host loses nothing and makes no old answer the latest."""

import json
import time
from contextlib import closing
from pathlib import Path

from kafka import KafkaProducer

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS, DUPLICATES, OUTCOMES
from streaming.batch.backlog import score_backlog
from streaming.batch.load import follow, refine
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import with_topics

REPEATED, NEW = 900_000_000, 900_000_001
COMPLAINT = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}


def send(lake: Lake, minutes_off: int, complaint_id: int, response: str) -> None:
    """Send a complaint from a sender whose clock is off by `minutes_off`."""
    cells = {**COMPLAINT, "complaint_id": str(complaint_id), "company_response_to_consumer": response}
    at = round((time.time() + minutes_off * 60) * 1000)
    with closing(KafkaProducer(bootstrap_servers=str(lake.settings.kafka.bootstrap_servers))) as producer:
        producer.send(lake.settings.kafka.input.name, json.dumps(cells).encode(), b"key", timestamp_ms=at)
        producer.flush()


def stream_once(lake: Lake) -> None:
    """Process everything on Kafka through to gold."""
    kafka = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
    follow(Queries(lake).ingest(kafka, Trigger(until_done=True)), lambda _: None)
    refine(lake, lambda _: None)
    score_backlog(lake.settings, lambda *_: None)


def test_a_clock_ten_minutes_off_changes_no_count_and_the_last_arrival_is_the_latest(
    trained: Trained, tmp_path: Path, shared_broker: Broker
) -> None:
    copy = copy_of(trained, tmp_path / "copy")
    lake = Lake(copy.spark, with_topics(copy.settings, shared_broker, "clocks"))
    ensure_topics(lake.settings.kafka, shared_broker.bootstrap_servers)
    before = {table: lake.read(table).count() for table in (COMPLAINTS, DUPLICATES)}

    send(lake, 10, REPEATED, "In progress")
    send(lake, 10, NEW, "In progress")
    stream_once(lake)
    send(lake, -10, REPEATED, "Closed with monetary relief")  # the clock was corrected, but too far back
    stream_once(lake)
    send(lake, -10, NEW, "Closed with explanation")
    stream_once(lake)

    assert lake.read(BRONZE).where("source = 'kafka'").count() == 4
    assert lake.read(COMPLAINTS).count() == before[COMPLAINTS] + 2 == lake.read(DECISIONS).count()
    assert lake.read(DUPLICATES).count() == before[DUPLICATES] + 2
    latest = lake.read(OUTCOMES).where(f"complaint_id >= {REPEATED}").select("complaint_id", "response_class").collect()
    assert dict(map(tuple, latest)) == {REPEATED: "monetary_relief", NEW: "explanation"}
