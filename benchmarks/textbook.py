"""The textbook pipeline: streaming queries as the guides of Spark and Delta show them, to compare the stream with.

It reads the same topic and uses the same steps, champion and load. Each query appends to a Delta table with Delta's own
sink, triggered every two seconds, with the default settings of Spark and Delta. It does less than the stream: no
repeats, outcomes, quarantine, aggregates or publishing, and it doesn't write a batch only once after a failure.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.bench import FOLDER, TICK_SECONDS, Bench, Watcher, generator_of, machine
from bronze.land import landed_from_kafka
from gold.decide import load_decisions
from gold.decisions import decisions
from gold.latency import since_kafka_ms
from lakehouse.settings import Settings
from lakehouse.setup.jars import spark_jars
from lakehouse.setup.java import find_java
from lakehouse.spark.session import EVERYWHERE_CONF
from ml.registry.registry import Registry
from ml.scoring.scoring import Model, scored
from silver.expectations import load_expectations
from silver.refine import refined
from silver.standardize import load_taxonomy
from silver.tables import COMPLAINTS
from streaming.kafka.broker import Broker
from streaming.kafka.producer import Producer, ProduceReport
from streaming.kafka.sending import Sending
from streaming.kafka.topics import ensure_topics
from streaming.runs.report import query_times, waits
from streaming.runs.resource_usage import UsageRecorder
from streaming.runs.run import Plan, View
from streaming.service.health import BatchHealth, batch_health
from streaming.service.scratch_lake import lake_with_champion

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

TRIGGER = "2 seconds"
LAYERS = {"ingest": "bronze", "refine": "silver", "score": "gold"}  # the queries, each with the layer it writes
DRAIN_SECONDS = 120.0  # that the queries get to finish after the last message


def bench_textbook(settings: Settings, plan: Plan, watcher: Watcher) -> Bench:
    """Measure the textbook pipeline at a rate, with the metrics of `bench_stream`.

    Needs a process without a Spark session: it starts one with default settings.

    Raises:
        ComplaintsError: there is no champion.
    """
    with lake_with_champion(settings, FOLDER) as empty, Broker(empty.folder / "broker") as broker:
        ensure_topics(empty.kafka, broker.bootstrap_servers)
        spark = _default_session(empty)
        try:
            pipeline = _Textbook(spark, empty, broker.bootstrap_servers, Registry(empty).champion())
            figures, batches = _measured(pipeline, plan, broker.bootstrap_servers, watcher)
        finally:
            spark.stop()
    began = min((batch.started_at for batch in batches), default=datetime.now(UTC))
    series = {
        "began_at": began,
        "warm_up_s": plan.warm_up_s or 0.0,
        "batches": [asdict(batch) for batch in sorted(batches, key=lambda batch: batch.started_at)],
        "vitals": [asdict(sample) for sample in pipeline.usage.samples],
    }
    return Bench("textbook", {"machine": machine(), "narratives": plan.narratives, **figures}, series)


def _default_session(settings: Settings) -> SparkSession:
    """Start Spark with Delta as its guide shows, with the stream's cores and heap."""
    os.environ["JAVA_HOME"] = str(find_java().home)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    conf = {
        **EVERYWHERE_CONF,  # the steps need it: without it Spark doesn't finish planning them
        "spark.master": f"local[{settings.spark.cores}]",
        "spark.driver.memory": settings.spark.memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": str(settings.spark.cores),
        "spark.sql.warehouse.dir": str(settings.folder / "warehouse"),
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.kryoserializer.buffer.max": "512m",  # as Spark NLP's guide requires
        "spark.driver.extraClassPath": os.pathsep.join(map(str, spark_jars())),
    }
    builder = SparkSession.builder.appName("textbook")
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


class _Textbook:
    """The three queries, each of which starts once its source exists."""

    def __init__(self, spark: SparkSession, settings: Settings, servers: str, model: Model) -> None:
        self.spark = spark
        self.settings = settings
        self.usage = UsageRecorder(spark, [])
        self.batches: dict[tuple[str, int], BatchHealth] = {}
        self._servers = servers
        self._model = model
        self._queries: list[StreamingQuery] = []
        self._next: str | None = "ingest"

    def path(self, layer: str) -> str:
        """The table of one layer."""
        return str(self.settings.folder / "textbook" / layer)

    def _start_next(self) -> None:
        """Start the next query once its source exists."""
        if self._next == "ingest":
            kafka = self.spark.readStream.format("kafka").option("kafka.bootstrap.servers", self._servers)
            kafka = kafka.option("subscribe", self.settings.kafka.input.name).option("startingOffsets", "earliest")
            kafka = kafka.option("includeHeaders", "true")
            rows = landed_from_kafka(kafka.load()).withColumn("ingested_at", F.current_timestamp())
            self._start("ingest", rows, then="refine")
        elif self._next == "refine" and self._exists("bronze"):
            step = refined(load_taxonomy(), load_expectations(self.spark), self.settings.silver)
            clean = self._stream("bronze").transform(step).where("size(reasons) = 0")
            clean = clean.withColumn("refined_at", F.current_timestamp()).select(COMPLAINTS.column_names)
            self._start("refine", clean, then="score")
        elif self._next == "score" and self._exists("silver"):
            decide = decisions(load_decisions(self.spark, COMPLAINTS.schema))
            self._start("score", self._stream("silver").transform(scored(self._model)).transform(decide), then=None)

    def _start(self, name: str, rows: DataFrame, *, then: str | None) -> None:
        checkpoint = str(self.settings.folder / "checkpoints" / name)
        writer = rows.writeStream.queryName(name).format("delta").outputMode("append")
        writer = writer.option("checkpointLocation", checkpoint).trigger(processingTime=TRIGGER)
        self._queries.append(writer.start(self.path(LAYERS[name])))
        self._next = then

    def _exists(self, layer: str) -> bool:
        return Path(self.path(layer), "_delta_log", f"{0:020}.json").is_file()

    def _stream(self, layer: str) -> DataFrame:
        return self.spark.readStream.format("delta").load(self.path(layer))

    @property
    def scored(self) -> int:
        """Number of complaints that the last query has written."""
        return sum(batch.rows for (query, _), batch in self.batches.items() if query == "score")

    def tick(self) -> None:
        """Start a query that can start, and collect all queries' progress; raises what stopped one of them."""
        self.usage.poll()
        self._start_next()
        for query in self._queries:
            if error := query.exception():
                raise error
            for progress in query.recentProgress:
                batch = batch_health(progress)
                if batch.rows:
                    self.batches[batch.query, batch.batch_id] = batch

    def stop(self) -> None:
        """Stop the queries."""
        for query in self._queries:
            query.stop()

    def waited(self) -> DataFrame:
        """Milliseconds from a complaint's Kafka timestamp until the file with its decision was complete."""
        gold = self.spark.read.format("delta").load(self.path("gold"))
        waited = F.expr(since_kafka_ms("_metadata.file_modification_time"))
        return gold.select("kafka_timestamp", waited.alias("waited_ms"))


def _measured(
    pipeline: _Textbook, plan: Plan, servers: str, watcher: Watcher
) -> tuple[Mapping[str, Any], list[BatchHealth]]:
    settings = pipeline.settings
    sending = Sending(
        Producer(settings.kafka, servers),
        generator_of(plan),
        rate_per_minute=plan.rate_per_minute,
        total=plan.total,
        stop=watcher.stop,
    )
    watcher.notify("Streaming with the textbook pipeline.")
    began = datetime.now(UTC)

    def tick(sent: int) -> None:
        pipeline.tick()
        watcher.on_view(View("sending", sent, plan.total, {}, {}))

    sending.follow(tick)
    until, limit = datetime.now(UTC), time.monotonic() + DRAIN_SECONDS
    while pipeline.scored < sending.report.sent and time.monotonic() < limit:
        tick(sending.report.sent)
        time.sleep(TICK_SECONDS)
    pipeline.stop()
    return _figures(pipeline, plan, sending.report, (began, until)), list(pipeline.batches.values())


def _figures(
    pipeline: _Textbook, plan: Plan, sent: ProduceReport, sending: tuple[datetime, datetime]
) -> dict[str, Any]:
    (began, until), warm_up = sending, plan.warm_up_s or 0.0
    since = began + timedelta(seconds=warm_up)
    found = waits(pipeline.waited(), since)
    thousands = sent.rate_per_minute * (until - since).total_seconds() / 60_000
    return {
        "sent": sent.sent,
        "gold": found.complaints,
        "rate_per_minute": round(sent.rate_per_minute, 1),
        "end_to_end_ms": {name: round(value) for name, value in found.milliseconds.items()},
        "queries": query_times(list(pipeline.batches.values()), since, until, LAYERS),
        "cpu_s_per_1000": round(pipeline.usage.cpu_seconds(since, until) / thousands, 2) if thousands > 0 else 0.0,
        "others_cores": round(pipeline.usage.others_cores(since), 2),
        "warm_up_s": warm_up,
    }
