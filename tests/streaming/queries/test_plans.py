"""The four queries over real complaints run without Python UDFs, and stream and batch agree."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze import tables as bronze
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import scored
from silver.expectations import load_expectations
from silver.tables import COMPLAINTS
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import IN_PYTHON, messages, plan_of, with_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql.streaming.query import StreamingQuery


@dataclass(frozen=True)
class Ran:
    """Results of one run of the five queries, one after another, until no input was left."""

    lake: Lake
    plans: dict[str, str]  # plan of the last batch, by query
    executions: list[str]  # physical plans of everything that Spark executed meanwhile
    published: list[tuple[bytes, bytes]]


def executed(spark: SparkSession) -> dict[int, str]:
    """Return the physical plans of all executions, by execution id."""
    found = spark._jsparkSession.sharedState().statusStore().executionsList()
    return {found.apply(i).executionId(): found.apply(i).physicalPlanDescription() for i in range(found.size())}


def plan(frame: DataFrame) -> str:
    return str(frame._jdf.queryExecution().executedPlan().toString())


def complaint(number: int, **fields: str) -> bytes:
    values = {
        "Complaint ID": str(number),
        "Date received": "2023-03-04",
        "Product": "Mortgage",
        "Issue": "Applying for a mortgage",
        "Company": "A BANK",
        "State": "CA",
        "Consumer complaint narrative": "They lost my papers twice and then charged {$200.00}.",
        **fields,
    }
    return json.dumps(values).encode()


SENT = [
    complaint(900_000_001),
    complaint(900_000_002, **{"Consumer complaint narrative": ""}),
    complaint(900_000_001),  # a duplicate
    complaint(900_000_002, **{"Company response to consumer": "Closed with monetary relief"}),  # its outcome
    b"no complaint at all",
]


@pytest.fixture
def ran(trained: Trained, tmp_path_factory: pytest.TempPathFactory, shared_broker: Broker, whole_plans: None) -> Ran:  # noqa: ARG001
    lake = copy_of(trained, tmp_path_factory.mktemp("plans") / "lake")
    lake = Lake(lake.spark, with_topics(lake.settings, shared_broker, "plans"))
    kafka = lake.settings.kafka
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for value in SENT:
        producer.send(kafka.input.name, value, partition=0)
    producer.flush()
    producer.close()
    lake.create(TABLES)
    options = spark_kafka_options(lake, shared_broker.bootstrap_servers)
    queries, until_done = Queries(lake), Trigger(until_done=True)
    before = executed(lake.spark)
    plans = {}
    starts: tuple[Callable[[], StreamingQuery], ...] = (
        lambda: queries.ingest(options, until_done),
        lambda: queries.refine(until_done),
        lambda: queries.merge(until_done),
        lambda: queries.score(trained.model, Publishing(kafka.predictions.name, options), until_done),
        lambda: queries.revise(trained.model, Publishing(kafka.predictions.name, options), until_done),
        lambda: queries.summarise(until_done),
    )
    for start in starts:
        query = start()
        follow(query, lambda _: None)
        plans[str(query.name)] = plan_of(query)
    executions = [text for number, text in executed(lake.spark).items() if number not in before]
    return Ran(lake, plans, executions, messages(shared_broker, kafka.predictions.name))


def test_a_python_udf_would_be_detected(spark: SparkSession, whole_plans: None) -> None:  # noqa: ARG001
    in_python = F.udf(lambda number: number + 1, "bigint")
    assert IN_PYTHON.search(plan(spark.range(3).select(in_python("id"))))


def test_nothing_is_evaluated_in_python_and_stream_and_batch_agree(trained: Trained, ran: Ran) -> None:
    assert set(ran.plans) == {"ingest", "refine", "merge", "score", "revise", "summarise"}
    queries, spark = Queries(ran.lake), ran.lake.spark
    plans = ran.plans | {
        "refining": plan(ran.lake.read(bronze.COMPLAINTS).transform(queries.refining(load_expectations(spark)))),
        "scoring": plan(ran.lake.read(COMPLAINTS).transform(queries.scoring(trained.model))),
    }
    for name, text in plans.items():
        assert "Scan" in text, name
        assert not IN_PYTHON.search(text), name
    assert "probability" in plans["scoring"]
    assert len(ran.executions) > 10
    assert any("kafka" in text.lower() for text in ran.executions)
    assert [text for text in ran.executions if IN_PYTHON.search(text)] == []
    complaints = ran.lake.read(COMPLAINTS)
    in_batch = complaints.transform(scored(trained.model))
    assert not IN_PYTHON.search(plan(in_batch))

    batch = {row.complaint_id: (row.probability, row.scored_with) for row in in_batch.collect()}
    decisions = ran.lake.read(DECISIONS).collect()  # bounded: a few hundred complaints
    assert {row.complaint_id: (row.probability, row.scored_with) for row in decisions} == batch
    assert len(decisions) == len(batch) == trained.lake.read(COMPLAINTS).count() + 2
    assert {int(key) for key, _ in ran.published} == set(batch)
    for table in (BY_MINUTE, BY_DAY):
        (total,) = ran.lake.read(table).agg(F.sum("complaints")).collect()
        assert total[0] == len(batch)
