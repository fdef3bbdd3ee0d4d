"""What the load generator made is marked from Kafka to gold, and neither trains nor judges a model."""

import json
import math
import threading
from collections.abc import Iterator
from datetime import date

import pytest
from kafka import KafkaProducer
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from ml.data.examples import examples
from silver.tables import COMPLAINTS, OUTCOMES, QUARANTINE
from stewardship.replay import replay
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Generator, Mix, read_rows
from streaming.kafka.producer import Producer
from streaming.tables import TABLES
from tests.conftest import SAMPLES, Trained, copy_of
from tests.stream_fixtures import Streaming, lake_with_topics

RECEIVED, GENERATED = 8_000_001, 300_000_000
SENT = 60
INTAKE = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}


@pytest.fixture(scope="module")
def streamed(trained: Trained, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake of real complaints from files, to which one more and `SENT` generated messages were streamed."""
    copied = copy_of(trained, tmp_path_factory.mktemp("synthetic") / "lake")
    with lake_with_topics(copied, shared_broker, "synthetic") as lake:
        servers = shared_broker.bootstrap_servers
        own = KafkaProducer(bootstrap_servers=servers)
        message = {**INTAKE, "complaint_id": str(RECEIVED), "company_response": "Closed with explanation"}
        own.send(lake.settings.kafka.input.name, json.dumps(message).encode(), headers=[("origin", b"portal")])
        own.close()
        mix = Mix(malformed=0.2, updated=0.3)
        rows = read_rows([SAMPLES / "export-2017-snake-case.csv.gz"])
        made = Generator(rows, mix, seed=1, first_id=GENERATED, start=date(2024, 3, 1))
        producer = Producer(lake.settings.kafka, servers)
        producer.produce(made, rate_per_minute=math.inf, total=SENT, stop=threading.Event())
        Streaming(lake, trained.model).all()
        yield lake


def test_each_layer_marks_the_generated_complaints_and_no_other(streamed: Lake) -> None:
    assert streamed.read(BRONZE).where("is_synthetic").count() == SENT
    assert streamed.read(BRONZE).where("source = 'kafka' AND is_synthetic IS NULL").count() == 1
    for table, mark in (
        (COMPLAINTS, "is_synthetic"),
        (OUTCOMES, "complaint_is_synthetic"),
        (DECISIONS, "is_synthetic"),
    ):
        rows = streamed.read(table).withColumn("made", F.col("complaint_id") >= GENERATED)
        assert rows.where("made").count() > 0
        assert rows.where(F.col("made") != F.coalesce(mark, F.lit(col=False))).count() == 0


@pytest.mark.parametrize("table", [BY_MINUTE, BY_DAY], ids=lambda table: table.name)
def test_aggregates_count_them_apart(streamed: Lake, table: object) -> None:
    decided = streamed.read(DECISIONS).where("kafka_timestamp IS NOT NULL").groupBy("is_synthetic").count()
    rows = streamed.read(table).groupBy("is_synthetic").agg(F.sum("complaints").alias("count"))  # type: ignore[arg-type]
    found = {row.is_synthetic: row["count"] for row in rows.collect()}
    assert found[True] == {row.is_synthetic: row["count"] for row in decided.collect()}[True]
    assert sum(found.values()) == streamed.read(DECISIONS).count()


def test_a_model_learns_from_them_only_when_asked(streamed: Lake) -> None:
    is_made = F.col("complaint_id") >= GENERATED
    assert examples(streamed).where(is_made).count() == 0
    assert examples(streamed).count() == streamed.read(COMPLAINTS).where(~is_made).count()
    ml = streamed.settings.ml.model_copy(update={"synthetic": True})
    asked = Lake(streamed.spark, streamed.settings.model_copy(update={"ml": ml}))
    assert examples(asked).where(is_made).count() == streamed.read(COMPLAINTS).where(is_made).count() > 0


def test_analysts_tell_them_apart_in_sql(streamed: Lake) -> None:
    asked = "SELECT count(*) FROM gold.decisions WHERE is_synthetic IS NULL AND complaint_id >= $first"
    assert query(streamed.settings, TABLES, asked, {"first": GENERATED}).rows == [(0,)]


def test_a_fixed_message_stays_marked_when_it_is_replayed(streamed: Lake) -> None:
    refused = streamed.read(QUARANTINE).where("array_contains(reasons, 'not_json')").first()
    assert refused is not None
    fixed = json.dumps({**INTAKE, "complaint_id": str(GENERATED + SENT)})
    assert replay(streamed.settings, reason=None, replacements={refused.record_id: fixed}).silver == 1
    complaint = streamed.read(COMPLAINTS).where(F.col("complaint_id") == GENERATED + SENT).first()
    assert complaint is not None
    assert complaint.is_synthetic
