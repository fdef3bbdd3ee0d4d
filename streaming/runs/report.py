"""The report of a run: every message accounted for, layer by layer, and how long it took."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver import tables as silver
from streaming.runs.resource_usage import Usage
from streaming.service.health import BatchHealth

LAYERS: Mapping[str, Table] = {
    "bronze": bronze.COMPLAINTS,
    "silver": silver.COMPLAINTS,
    "quarantined": silver.QUARANTINE,
    "duplicates": silver.DUPLICATES,
    "gold": gold.DECISIONS,
}
QUERIES = ("ingest", "refine", "score", "summarise")
PARTS = ("offsets", "planning", "execution", "commit")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Span:
    """The messages of one run: where the input topic's partitions began, and when.

    Attributes:
        topic: the input topic.
        begin: partition to the first offset of this run.
        began_at: when it began.
    """

    topic: str
    begin: Mapping[int, int]
    began_at: datetime

    def holds(self) -> Column:
        """Whether a row stems from this run's messages, by its `record_id`."""
        parts = F.split("record_id", "/")
        start = F.coalesce(*(F.when(parts[1].cast("int") == p, F.lit(o)) for p, o in self.begin.items()), F.lit(0))
        return (parts[0] == self.topic) & (parts[2].cast("bigint") >= start)

    def rows(self, lake: Lake, table: Table) -> DataFrame:
        """The table's rows that stem from this run's messages; files' statistics leave earlier ones out."""
        return lake.read(table).where((F.col("ingested_at") >= F.lit(self.began_at)) & self.holds())


@dataclass(frozen=True)
class Counts:
    """Rows of one run by layer, each record once; `doubled` are those that a layer has more than once."""

    bronze: int
    silver: int
    quarantined: int
    duplicates: int
    gold: int
    doubled: int = 0

    def is_complete(self, sent: int) -> bool:
        """Whether every message sent is accounted for, once."""
        whole = self.bronze == sent == self.silver + self.quarantined + self.duplicates
        return whole and self.gold == self.silver and not self.doubled


def counts(lake: Lake, span: Span) -> Counts:
    """The run's rows in each layer as they are now."""
    distinct, doubled = {}, 0
    for name, table in LAYERS.items():
        rows = (
            span.rows(lake, table).agg(F.count("*").alias("all"), F.count_distinct("record_id").alias("once")).first()
        )
        distinct[name] = int(rows["once"]) if rows else 0
        doubled += int(rows["all"]) - distinct[name] if rows else 0
    return Counts(**distinct, doubled=doubled)


def query_times(batches: Sequence[BatchHealth], since: datetime, until: datetime) -> dict[str, dict[str, Any]]:
    """By query: batches begun in a time, their rows on average, percentiles of their milliseconds, and of what parts.

    `parts_ms` holds the median of each part of a batch.
    """
    times: dict[str, dict[str, Any]] = {}
    for query in QUERIES:
        ours = [batch for batch in batches if batch.query == query and since <= batch.started_at <= until]
        times[query] = {
            "batches": len(ours),
            "rows_per_batch": round(sum(batch.rows for batch in ours) / len(ours), 1) if ours else 0.0,
            **{f"{name}_ms": value for name, value in percentiles([batch.batch_ms for batch in ours]).items()},
            "parts_ms": {part: percentiles([getattr(b, f"{part}_ms") for b in ours])["p50"] for part in PARTS},
        }
    return times


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The percentiles that a report tells; 0 when there is nothing."""
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
        for name, share in PERCENTILES.items()
    }


@dataclass(frozen=True)
class Waits:
    """How long complaints waited.

    Attributes:
        complaints: of how many that is known.
        milliseconds: percentiles, of those that arrived after the warm-up.
    """

    complaints: int
    milliseconds: Mapping[str, float]


def end_to_end(lake: Lake, span: Span, score_query: str, since: datetime) -> Waits:
    """From a message's Kafka timestamp to the commit that made its decision visible, for messages since a time.

    A commit's time is told by the table's history: what upkeep has dropped of it is left out.
    """
    commits = _commit_times(lake, score_query, span.began_at)
    elapsed = F.unix_millis("visible_at") - F.unix_millis("kafka_timestamp")
    decisions = span.rows(lake, gold.DECISIONS).join(F.broadcast(commits), on="batch_id")
    return waits(decisions.select("kafka_timestamp", elapsed.alias("waited_ms")), since)


def waits(waited: DataFrame, since: datetime) -> Waits:
    """Percentiles of `waited_ms` by rows with `kafka_timestamp`, one a complaint."""
    late = F.when(F.col("kafka_timestamp") >= F.lit(since), F.col("waited_ms"))
    row = waited.agg(F.count("*").alias("complaints"), *_percentiles(late)).collect()[0]
    return Waits(row["complaints"], {name: float(row[name] or 0.0) for name in PERCENTILES})


def _percentiles(column: Column) -> list[Column]:
    return [F.percentile(column, p).alias(name) for name, p in PERCENTILES.items()]


def _commit_times(lake: Lake, score_query: str, since: datetime) -> DataFrame:
    """When each batch of the scoring query became visible: the time of the commit that carries its mark."""
    history = lake.delta(gold.DECISIONS).history()
    ours = history.where((F.col("timestamp") >= F.lit(since)) & F.startswith("userMetadata", F.lit(f"{score_query}:")))
    return ours.select(
        F.split("userMetadata", ":")[1].cast("bigint").alias("batch_id"), F.col("timestamp").alias("visible_at")
    )


@dataclass(frozen=True)
class RunReport:
    """What a run did; `as_json` gives the documented keys.

    Attributes:
        sent: messages that the broker acknowledged; `failed` those that it did not.
        counts: their rows by layer.
        rate_per_minute: at which they were sent.
        end_to_end: from Kafka to a decision visible in gold; `published` to its message on Kafka.
        queries: batches and their times by query, until all was sent: after that the rows are
            counted beside them. A backlog shows in `end_to_end`.
        cpu_s_per_1000: processor seconds of Spark and this process for a thousand complaints.
        others_cores: processors that all else on the machine used, broker included.
        warm_up_s: seconds at the start that all latencies and costs leave out.
        restarts: by query.
        model_version: that scored last.
        batches, vitals: every batch, and every look at the machine.
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
        """The report as plain values."""
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
