"""The six streaming queries, each with its own checkpoint: ingest, refine, merge, score, revise, summarise.

Transformation and writing are separate: the steps of a batch are plain DataFrame functions, also used outside a stream.
The same queries run continuously or until no input is left, as in `complaints load`.
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
from lakehouse.errors import ComplaintsError
from lakehouse.heap import heap_bytes
from lakehouse.logs import about
from lakehouse.spark.planned import Planned
from lakehouse.spark.priority import run_in_background
from lakehouse.spark.session import kafka_security_package
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
from streaming.kafka.security import spark_options
from streaming.queries.checkpoints import check_checkpoint
from streaming.queries.ingest import IngestBatch
from streaming.queries.merge import MergeBatch
from streaming.queries.refine import RefineBatch
from streaming.queries.revise import ReviseBatch
from streaming.queries.score import Publishing, ScoreBatch
from streaming.queries.summarise import SummariseBatch

QueryName = Literal["ingest", "refine", "merge", "score", "revise", "summarise"]
BACKGROUND: frozenset[QueryName] = frozenset({"merge", "revise", "summarise"})  # no new complaint waits for them
Batch = Callable[[DataFrame, int], None]
FILES_PER_BATCH = 200
MERGED_FILES = 1_000  # merge and revise read a table by ids, so a batch takes many rows at once
JOB = uuid.uuid4().hex  # identifies this process when it holds a lease

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trigger:
    """When a query runs a batch: at an interval (0 = as data arrives), or once over the available data."""

    until_done: bool = False
    interval_ms: int = 0

    def applied(self, writer: DataStreamWriter) -> DataStreamWriter:
        """Return the writer with this trigger."""
        if self.until_done:
            return writer.trigger(availableNow=True)
        return writer.trigger(processingTime=f"{self.interval_ms} milliseconds")


class Queries:
    """Starts the queries on one lake.

    Args:
        lake: the lake.
        gate: wraps each batch function, so that a supervisor can stop between two batches.
    """

    def __init__(self, lake: Lake, gate: Callable[[Batch], Batch] = lambda batch: batch) -> None:
        self._lake = lake
        self._gate = gate
        self._rows = lake.settings.streaming.max_rows_per_batch

    def ingest(self, kafka: dict[str, str], trigger: Trigger) -> StreamingQuery:
        """Stream Kafka to bronze.complaints. `kafka` holds Spark's options: servers, security.

        Messages of aborted transactions are not read.

        Raises:
            ComplaintsError: the brokers can't be reached, the topic doesn't exist, or the checkpoint is damaged.
        """
        topic = self._lake.settings.kafka.input.name
        taken_up = resume_topic(self._lake, kafka["kafka.bootstrap.servers"])
        messages = (
            self._lake.spark.readStream.format("kafka")
            .options(**kafka)
            .option("subscribe", topic)
            .option("kafka.isolation.level", "read_committed")
            .option("startingOffsets", "earliest")
            .option("includeHeaders", "true")
            .option("failOnDataLoss", not self._lake.settings.streaming.accept_data_loss)
            .option("maxOffsetsPerTrigger", self._rows)
            .option("kafka.max.poll.records", self._max_poll_records)
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
        """Stream bronze.complaints to silver."""
        expectations = load_expectations(self._lake.spark)
        return self._start(
            "refine",
            self._lake.read_stream(bronze.COMPLAINTS, **self._rate_limits),
            lambda guard, query_id: RefineBatch(self._lake, guard, query_id, expectations),
            trigger,
            self.refining(expectations),
        )

    def refining(self, expectations: tuple[Expectation, ...]) -> Step:
        """Return the step that a bronze batch goes through before it is routed and written."""
        return refined(load_taxonomy(), expectations, self._lake.settings.silver)

    def merge(self, trigger: Trigger) -> StreamingQuery:
        """Stream silver.outcome_reports to silver.outcomes."""
        rows = self._lake.read_stream(silver.OUTCOME_REPORTS, maxFilesPerTrigger=MERGED_FILES)
        return self._start("merge", rows, lambda guard, _: MergeBatch(self._lake, guard), trigger)

    def score(
        self, model: Model, publishing: Publishing | None, trigger: Trigger, challenger: Model | None = None
    ) -> StreamingQuery:
        """Stream silver.complaints to gold.decisions and, if `publishing`, to Kafka.

        A challenger scores in shadow.
        """
        return self._start(
            "score",
            self._lake.read_stream(silver.COMPLAINTS, **self._rate_limits),
            lambda guard, _: ScoreBatch(self._lake, guard, publishing),
            trigger,
            self.scoring(model, challenger),
        )

    def scoring(self, model: Model, challenger: Model | None = None) -> Step:
        """Return the step that a silver batch goes through before it is written and published."""
        rules = load_decisions(self._lake.spark, silver.COMPLAINTS.schema)
        steps = [*([shadowed(challenger)] if challenger else []), scored(model), decisions(rules)]
        return lambda complaints: reduce(DataFrame.transform, steps, complaints)

    def revise(
        self,
        model: Model,
        publishing: Publishing | None,
        trigger: Trigger,
        on_undecided: Callable[[int], None] | None = None,
    ) -> StreamingQuery:
        """Stream silver.revisions to gold.decisions and, if `publishing`, to Kafka.

        `on_undecided` waits until the score query has decided an earlier version; without it the query fails then.
        """
        scoring = self.scoring(model)
        rows = self._lake.read_stream(silver.REVISIONS, maxFilesPerTrigger=MERGED_FILES)
        return self._start(
            "revise",
            rows,
            lambda guard, _: ReviseBatch(self._lake, guard, scoring, publishing, on_undecided or _refuse_undecided),
            trigger,
        )

    def summarise(self, trigger: Trigger) -> StreamingQuery:
        """Stream gold.decisions to the aggregates."""
        rows = self._lake.read_stream(gold.DECISIONS, **self._rate_limits)
        return self._start("summarise", rows, lambda guard, _: SummariseBatch(self._lake, guard), trigger)

    @property
    def _max_poll_records(self) -> int:
        """Messages per poll: as many as fit in a quarter of the heap, even at their maximum size."""
        settings = self._lake.settings
        return max(1, min(500, heap_bytes(settings.spark.memory) // 4 // settings.kafka.input.max_message_bytes))

    @property
    def _rate_limits(self) -> dict[str, str | int]:
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
        platform = self._lake.settings.platform
        lease = None if platform.has_one_writer else Lease(self._lake, name, JOB)
        if step and platform.plans_steps_once:
            step = Planned(step)
        elif step:
            rows, step = rows.transform(step), None

        def make(query_id: str) -> Batch:
            if name in BACKGROUND:
                run_in_background(self._lake.spark, self._lake.settings)
            return self._gate(writer(Guard(self._lake, query_id), query_id))

        # The query id is stored in the checkpoint and known only once the query runs; the first batch may come earlier.
        batches = _LazyBatchWriter(name, step, lease, make)
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


def _refuse_undecided(complaints: int) -> None:
    msg = f"{complaints:,} revised complaints have no decision on their first intake: run `complaints score` again."
    raise ComplaintsError(msg)


class _LazyBatchWriter:
    """Creates the batch writer on the first batch, when the query id is known."""

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
                log.info("a batch failed", exc_info=True)  # the supervisor reports it to the user in one sentence
                raise


def spark_kafka_options(lake: Lake, bootstrap_servers: str) -> dict[str, str]:
    """Return Spark's Kafka options from the settings: servers and security.

    Raises:
        ComplaintsError: a security setting is missing, or a file that one names can't be used.
    """
    kafka = lake.settings.kafka
    return {
        "kafka.bootstrap.servers": bootstrap_servers,
        "kafka.max.request.size": str(kafka.input.max_message_bytes),
        **spark_options(kafka, kafka_security_package(lake.settings)),
    }
