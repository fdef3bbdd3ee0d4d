"""The four streaming queries, each with its own checkpoint: ingest, refine, score, summarise.

Steps and writing are apart: what a batch goes through is a function from frame to frame, the same as outside a stream.
The same queries run for ever, or until nothing is left, as `complaints load` does.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from bronze import tables as bronze
from bronze.land import landing_from
from gold import tables as gold
from gold.decide import load_decisions
from gold.decisions import decisions
from lakehouse.heap import heap_bytes
from lakehouse.logs import about
from lakehouse.spark.planned import Planned
from lakehouse.spark.session import kafka_login_module
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from lakehouse.tables.lease import Lease
from ml.scoring.scoring import Model, scored, shadowed
from silver import tables as silver
from silver.expectations import Expectation, load_expectations
from silver.refine import refined
from silver.standardize import load_taxonomy
from streaming.kafka.origin import resume_topic
from streaming.queries.checkpoints import check_checkpoint
from streaming.queries.ingest import IngestBatch
from streaming.queries.refine import RefineBatch
from streaming.queries.score import Publishing, ScoreBatch
from streaming.queries.summarise import SummariseBatch

QueryName = Literal["ingest", "refine", "score", "summarise"]
Batch = Callable[[DataFrame, int], None]
FILES_PER_BATCH = 200
JOB = uuid.uuid4().hex  # what this process is called where it holds a lease

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trigger:
    """When a query runs its next batch: at an interval (0 = as data comes), or over what is there and then no more."""

    until_done: bool = False
    interval_ms: int = 0

    def applied(self, writer: DataStreamWriter) -> DataStreamWriter:
        """The writer with this trigger."""
        if self.until_done:
            return writer.trigger(availableNow=True)
        return writer.trigger(processingTime=f"{self.interval_ms} milliseconds")


class Queries:
    """Starts the queries over one lake.

    Args:
        lake: the lake.
        gate: wraps each batch's writing, so that a supervisor can stop between two batches.
    """

    def __init__(self, lake: Lake, gate: Callable[[Batch], Batch] = lambda batch: batch) -> None:
        self._lake = lake
        self._gate = gate
        self._rows = lake.settings.streaming.max_rows_per_batch

    def ingest(self, kafka: dict[str, str], trigger: Trigger) -> StreamingQuery:
        """Kafka to bronze.complaints. `kafka` are Spark's options: servers, security.

        Messages of a transaction that was aborted were never sent, and are not read.

        Raises:
            ComplaintsError: the brokers can't be reached, or have no such topic; or the checkpoint is damaged.
        """
        topic = self._lake.settings.kafka.input.name
        taken_up = resume_topic(self._lake, kafka["kafka.bootstrap.servers"])
        messages = (
            self._lake.spark.readStream.format("kafka")
            .options(**kafka)
            .option("subscribe", topic)
            .option("kafka.isolation.level", "read_committed")
            .option("startingOffsets", "earliest")
            .option("failOnDataLoss", not self._lake.settings.streaming.accept_data_loss)
            .option("maxOffsetsPerTrigger", self._rows)
            .option("kafka.max.poll.records", self._polled)
            .load()
        )
        return self._start(
            "ingest",
            messages,
            lambda guard, _: IngestBatch(self._lake, guard),
            trigger,
            landing_from(taken_up.incarnation),
        )

    def refine(self, trigger: Trigger) -> StreamingQuery:
        """bronze.complaints to silver."""
        expectations = load_expectations(self._lake.spark)
        return self._start(
            "refine",
            self._lake.read_stream(bronze.COMPLAINTS, **self._pace),
            lambda guard, query_id: RefineBatch(self._lake, guard, query_id, expectations),
            trigger,
            self.refining(expectations),
        )

    def refining(self, expectations: tuple[Expectation, ...]) -> Step:
        """What a batch of bronze goes through before it is sorted out and written."""
        return refined(load_taxonomy(), expectations, self._lake.settings.silver)

    def score(
        self, model: Model, publishing: Publishing | None, trigger: Trigger, challenger: Model | None = None
    ) -> StreamingQuery:
        """silver.complaints to gold.decisions, and to Kafka when `publishing` is given; a challenger scores beside."""
        return self._start(
            "score",
            self._lake.read_stream(silver.COMPLAINTS, **self._pace),
            lambda guard, _: ScoreBatch(self._lake, guard, publishing),
            trigger,
            self.scoring(model, challenger),
        )

    def scoring(self, model: Model, challenger: Model | None = None) -> Step:
        """What a batch of silver goes through before it is written and published."""
        rules = load_decisions(self._lake.spark, silver.COMPLAINTS.schema)
        steps = [*([shadowed(challenger)] if challenger else []), scored(model), decisions(rules)]
        return lambda complaints: reduce(DataFrame.transform, steps, complaints)

    def summarise(self, trigger: Trigger) -> StreamingQuery:
        """gold.decisions to the aggregates."""
        rows = self._lake.read_stream(gold.DECISIONS, **self._pace)
        return self._start("summarise", rows, lambda guard, _: SummariseBatch(self._lake, guard), trigger)

    @property
    def _polled(self) -> int:
        """Messages that a client may unpack at a time: as many as a quarter of the heap takes, however large."""
        settings = self._lake.settings
        return max(1, min(500, heap_bytes(settings.spark.memory) // 4 // settings.kafka.input.max_message_bytes))

    @property
    def _pace(self) -> dict[str, str | int]:
        return {"maxFilesPerTrigger": FILES_PER_BATCH, "maxBytesPerTrigger": "16m"}

    def _start(
        self,
        name: QueryName,
        rows: DataFrame,
        writer: Callable[[Guard, str], Batch],
        trigger: Trigger,
        step: Step | None = None,
    ) -> StreamingQuery:
        check_checkpoint(self._lake, name)
        lease = None if self._lake.settings.is_local else Lease(self._lake, name, JOB)
        if step and self._lake.settings.is_local:
            step = Planned(step)
        elif step:
            rows, step = rows.transform(step), None
        # The query's id is in its checkpoint and is known only once it runs: the first batch may come before.
        batches = _FirstBatch(
            name, step, lease, lambda query_id: self._gate(writer(Guard(self._lake, query_id), query_id))
        )
        self._lake.spark.sparkContext.setLocalProperty("spark.scheduler.pool", name)
        stream = (
            rows.writeStream.queryName(name)
            .option("checkpointLocation", self._lake.checkpoint(name))
            .foreachBatch(batches)
        )
        query = trigger.applied(stream).start()
        if lease:
            lease.hold(lambda: query.isActive)
        return query


class _FirstBatch:
    """Makes the batch writer when the first batch comes, for the query that runs it."""

    def __init__(self, name: str, step: Step | None, lease: Lease | None, make: Callable[[str], Batch]) -> None:
        self._name = name
        self._lease = lease
        self._step = step
        self._make = make
        self._batch: Batch | None = None

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        if self._batch is None:
            query_id = rows.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
            self._batch = self._make(str(query_id))
        if self._lease is not None:
            self._lease.check()
        with about(query=self._name, batch_id=batch_id):
            try:
                self._batch(self._step(rows) if self._step else rows, batch_id)
            except Exception:
                log.info("a batch did not end", exc_info=True)  # people are told by the supervisor, in a sentence
                raise


def spark_kafka_options(lake: Lake, bootstrap_servers: str) -> dict[str, str]:
    """Spark's options for the settings' Kafka: servers and security."""
    kafka = lake.settings.kafka
    options = {
        "kafka.bootstrap.servers": bootstrap_servers,
        "kafka.security.protocol": kafka.security_protocol,
        "kafka.max.request.size": str(kafka.input.max_message_bytes),
    }
    if kafka.ca_file is not None:
        options |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": str(kafka.ca_file)}
    if kafka.username and kafka.password:
        user, password = (_quoted(text) for text in (kafka.username, kafka.password.get_secret_value()))
        module = kafka_login_module(lake.settings)
        options["kafka.sasl.mechanism"] = "PLAIN"
        options["kafka.sasl.jaas.config"] = f"{module} required username={user} password={password};"
    return options


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
