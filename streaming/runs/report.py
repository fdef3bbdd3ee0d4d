"""The report of a run: row counts by layer, and latencies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import tables as bronze
from gold import tables as gold
from gold.latency import since_kafka_ms
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver import tables as silver
from streaming.runs.resource_usage import Usage
from streaming.service.health import BatchHealth
from streaming.status import QUERIES

LAYERS: Mapping[str, Table] = {
    "bronze": bronze.COMPLAINTS,
    "silver": silver.COMPLAINTS,
    "quarantined": silver.QUARANTINE,
    "duplicates": silver.DUPLICATES,
    "gold": gold.DECISIONS,
}
PARTS = ("offsets", "planning", "execution", "commit")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Span:
    """The messages of one run: the start offsets of the input topic, and the start time.

    Attributes:
        topic: the input topic.
        begin: first offset of this run by partition.
        began_at: when the run began.
    """

    topic: str
    begin: Mapping[int, int]
    began_at: datetime

    def holds(self) -> Column:
        """Return the condition that a row comes from this run's messages, by its `record_id`."""
        parts = F.split("record_id", "/")
        start = F.coalesce(*(F.when(parts[1].cast("int") == p, F.lit(o)) for p, o in self.begin.items()), F.lit(0))
        return (parts[0] == self.topic) & (parts[2].cast("bigint") >= start)

    def rows(self, lake: Lake, table: Table) -> DataFrame:
        """Return the table's rows that come from this run's messages; file statistics skip earlier files.

        Of gold.decisions those on first intakes: one per complaint.
        """
        rows = lake.read(table).where((F.col("ingested_at") >= F.lit(self.began_at)) & self.holds())
        return rows.where(gold.FIRST) if table is gold.DECISIONS else rows


@dataclass(frozen=True)
class Counts:
    """Distinct records of one run by layer; `doubled` counts additional copies within a layer."""

    bronze: int
    silver: int
    quarantined: int
    duplicates: int
    gold: int
    doubled: int = 0

    def is_complete(self, sent: int) -> bool:
        """Whether every message sent is accounted for exactly once."""
        whole = self.bronze == sent == self.silver + self.quarantined + self.duplicates
        return whole and self.gold == self.silver and not self.doubled


def counts(lake: Lake, span: Span) -> Counts:
    """Return the run's current rows in each layer."""
    distinct, doubled = {}, 0
    for name, table in LAYERS.items():
        rows = (
            span.rows(lake, table).agg(F.count("*").alias("all"), F.count_distinct("record_id").alias("once")).first()
        )
        distinct[name] = int(rows["once"]) if rows else 0
        doubled += int(rows["all"]) - distinct[name] if rows else 0
    return Counts(**distinct, doubled=doubled)


def query_times(
    batches: Sequence[BatchHealth], since: datetime, until: datetime, queries: Iterable[str] = QUERIES
) -> dict[str, dict[str, Any]]:
    """Return, for each of these queries, count, mean rows and duration percentiles of its batches started in a period.

    `parts_ms` holds the median of each part of a batch.
    """
    times: dict[str, dict[str, Any]] = {}
    for query in queries:
        ours = [batch for batch in batches if batch.query == query and since <= batch.started_at <= until]
        times[query] = {
            "batches": len(ours),
            "rows_per_batch": round(sum(batch.rows for batch in ours) / len(ours), 1) if ours else 0.0,
            **{f"{name}_ms": value for name, value in percentiles([batch.batch_ms for batch in ours]).items()},
            "parts_ms": {part: percentiles([getattr(b, f"{part}_ms") for b in ours])["p50"] for part in PARTS},
        }
    return times


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the percentiles of a report; 0 if there are no values."""
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
        for name, share in PERCENTILES.items()
    }


@dataclass(frozen=True)
class Waits:
    """Latencies of complaints.

    Attributes:
        complaints: number of complaints with a known latency.
        milliseconds: percentiles, for complaints that arrived after the warm-up.
    """

    complaints: int
    milliseconds: Mapping[str, float]


def end_to_end(lake: Lake, span: Span, score_query: str, since: datetime) -> Waits:
    """Return latencies from Kafka timestamp to the decision's commit, for messages since a time.

    Commit times come from the table's history; commits that upkeep has removed from it are left out.
    """
    commits = _commit_times(lake, score_query, span.began_at)
    decisions = span.rows(lake, gold.DECISIONS).join(F.broadcast(commits), on="batch_id")
    return waits(decisions.select("kafka_timestamp", F.expr(since_kafka_ms("visible_at")).alias("waited_ms")), since)


def waits(waited: DataFrame, since: datetime) -> Waits:
    """Return percentiles of `waited_ms` from rows with `kafka_timestamp`, one row per complaint."""
    late = F.when(F.col("kafka_timestamp") >= F.lit(since), F.col("waited_ms"))
    row = waited.agg(F.count("*").alias("complaints"), *_percentiles(late)).collect()[0]
    return Waits(row["complaints"], {name: float(row[name] or 0.0) for name in PERCENTILES})


def _percentiles(column: Column) -> list[Column]:
    return [F.percentile(column, p).alias(name) for name, p in PERCENTILES.items()]


def _commit_times(lake: Lake, score_query: str, since: datetime) -> DataFrame:
    """Return when each batch of the score query became visible: the time of the commit with its mark."""
    history = lake.delta(gold.DECISIONS).history()
    ours = history.where((F.col("timestamp") >= F.lit(since)) & F.startswith("userMetadata", F.lit(f"{score_query}:")))
    return ours.select(
        F.split("userMetadata", ":")[1].cast("bigint").alias("batch_id"), F.col("timestamp").alias("visible_at")
    )


@dataclass(frozen=True)
class RunReport:
    """Result of a run; `as_json` returns the documented keys.

    Attributes:
        sent: messages that the broker acknowledged; `failed`: messages that it did not.
        counts: rows by layer.
        rate_per_minute: send rate.
        end_to_end: latency from Kafka to a visible decision in gold; `published`: to its message on Kafka.
        queries: batches and their times by query, until sending ended; afterwards the row counts run at the
            same time. A backlog shows in `end_to_end`.
        cpu_s_per_1000: CPU seconds of Spark and this process per thousand complaints.
        others_cores: CPU cores used by everything else on the machine, including the broker.
        warm_up_s: seconds at the start that latencies and costs exclude.
        restarts: number of restarts by query.
        model_version: the last version that scored.
        batches, vitals: every batch, and every sample of resource usage.
    """

    sent: int
    failed: int
    counts: Counts
    rate_per_minute: float
    end_to_end: Waits
    published: Waits
    queries: Mapping[str, Mapping[str, Any]]
    cpu_s_per_1000: float
    others_cores: float
    warm_up_s: float
    restarts: Mapping[str, int]
    model_version: str
    batches: Sequence[BatchHealth]
    vitals: Sequence[Usage]

    @property
    def is_complete(self) -> bool:
        """Whether every message sent is accounted for, and every decision published."""
        return self.counts.is_complete(self.sent) and self.published.complaints >= self.counts.gold

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "sent": self.sent,
            "failed": self.failed,
            **asdict(self.counts),
            "published": self.published.complaints,
            "complete": self.is_complete,
            "rate_per_minute": round(self.rate_per_minute, 1),
            "end_to_end_ms": _rounded(self.end_to_end),
            "end_to_end_complaints": self.end_to_end.complaints,
            "published_ms": _rounded(self.published),
            "queries": {name: dict(times) for name, times in self.queries.items()},
            "cpu_s_per_1000": round(self.cpu_s_per_1000, 2),
            "others_cores": round(self.others_cores, 2),
            "warm_up_s": self.warm_up_s,
            "restarts": dict(self.restarts),
            "model_version": self.model_version,
        }


def _rounded(waited: Waits) -> dict[str, int]:
    return {name: round(value) for name, value in waited.milliseconds.items()}
