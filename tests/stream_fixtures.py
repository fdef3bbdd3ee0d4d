"""Fixtures and helpers that tests of the stream share: a broker, topics, plans, waiting."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.settings import Settings
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import Model
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.tables import TABLES

DONE = Trigger(until_done=True)
# Environment of a process that lives for a minute or two: Java's first compiler only, since its second takes a quarter
# of the processor and pays later.
SHORT_LIVED = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
WAIT_SECONDS = 600  # upper bound for whatever a test waits for, far above what a busy machine needs
WHOLE = {"spark.sql.maxPlanStringLength": "10000000", "spark.sql.debug.maxToStringFields": "100000"}
# Operators of a physical plan in which Spark calls Python.
IN_PYTHON = re.compile(r"\b\w*(?:EvalPython|PythonUDF|InPandas|InArrow|PythonMap|InPythonWith)\w*|\bpythonUDF\d+")


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for the whole test session; each test uses separate topics."""
    with Broker(tmp_path_factory.mktemp("shared-broker")) as broker:
        yield broker


@pytest.fixture
def whole_plans(spark: SparkSession) -> Iterator[None]:
    """Keep Spark from truncating plans when they are converted to text."""
    before = {name: str(spark.conf.get(name)) for name in WHOLE}
    for name, value in WHOLE.items():
        spark.conf.set(name, value)
    yield
    for name, value in before.items():
        spark.conf.set(name, value)


def with_topics(settings: Settings, broker: Broker, name: str) -> Settings:
    """Return the settings with this broker and two topics named after `name`."""
    kafka = settings.kafka
    own = kafka.model_copy(
        update={
            "bootstrap_servers": broker.bootstrap_servers,
            "input": kafka.input.model_copy(update={"name": f"{name}-input"}),
            "predictions": kafka.predictions.model_copy(update={"name": f"{name}-predictions"}),
        }
    )
    return settings.model_copy(update={"kafka": own})


@contextmanager
def lake_with_topics(lake: Lake, broker: Broker, name: str) -> Iterator[Lake]:
    """Create all tables of a lake, and topics of its own that are deleted at the end."""
    own = Lake(lake.spark, with_topics(lake.settings, broker, name))
    kafka = own.settings.kafka
    ensure_topics(kafka, broker.bootstrap_servers)
    own.create(TABLES)
    yield own
    with admin_client(kafka, broker.bootstrap_servers) as admin:
        admin.delete_topics([kafka.input.name, kafka.predictions.name])


class Streaming:
    """The queries of one lake, each of which runs until it has read all its input."""

    def __init__(self, lake: Lake, model: Model) -> None:
        self._queries = Queries(lake)
        self._model = model
        self._kafka = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
        self._publishing = Publishing(lake.settings.kafka.predictions.name, self._kafka)

    def ingest(self) -> None:
        follow(self._queries.ingest(self._kafka, DONE), lambda _: None)

    def refine(self) -> None:
        follow(self._queries.refine(DONE), lambda _: None)
        follow(self._queries.merge(DONE), lambda _: None)

    def score(self) -> None:
        follow(self._queries.score(self._model, self._publishing, DONE), lambda _: None)
        follow(self._queries.revise(self._model, self._publishing, DONE), lambda _: None)

    def summarise(self) -> None:
        follow(self._queries.summarise(DONE), lambda _: None)

    def all(self) -> None:
        self.ingest()
        self.refine()
        self.score()
        self.summarise()


def killed_while_publishing(*_: object) -> None:
    """Stand in for `publish` of a process that is killed there."""
    msg = "killed while publishing"
    raise InterruptedError(msg)


def messages(broker: Broker, topic: str) -> list[tuple[bytes, bytes]]:
    """Return the keys and values of all messages of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, enable_auto_commit=False)
    positions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(positions)
    consumer.seek_to_beginning(*positions)
    ends = consumer.end_offsets(positions)
    found: list[tuple[bytes, bytes]] = []
    while any(consumer.position(position) < ends[position] for position in positions):
        for records in consumer.poll(1000).values():
            found += [(record.key, record.value) for record in records]
    consumer.close()
    return found


def plan_of(query: StreamingQuery) -> str:
    """Return the physical plan of a query's last batch."""
    return str(query._jsq.streamingQuery().lastExecution().executedPlan().toString())


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fails with the name of what did not happen in time."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {WAIT_SECONDS} s"
        time.sleep(0.05)
