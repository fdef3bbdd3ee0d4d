"""The report of a run: every message accounted for, layer by layer, and how long it took."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.catalogue import Table
from lakehouse.lake import Lake
from silver import tables as silver
from streaming.health import BatchHealth

LAYERS: Mapping[str, Table] = {
    "bronze": bronze.COMPLAINTS,
    "silver": silver.COMPLAINTS,
    "quarantined": silver.QUARANTINE,
    "duplicates": silver.DUPLICATES,
    "gold": gold.DECISIONS,
}
QUERIES = ("ingest", "refine", "score", "summarise")
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

    def rows(self, lake: Lake, table: Table) -> DataFrame:
        """The table's rows that stem from this run's messages; files' statistics leave earlier ones out."""
        parts = F.split("record_id", "/")
        start = F.coalesce(*(F.when(parts[1].cast("int") == p, F.lit(o)) for p, o in self.begin.items()), F.lit(0))
        here = (parts[0] == self.topic) & (parts[2].cast("bigint") >= start)
        return lake.read(table).where((F.col("ingested_at") >= F.lit(self.began_at)) & here)


@dataclass(frozen=True)
class Counts:
    """Rows of one run by layer."""

    bronze: int
    silver: int
    quarantined: int
    duplicates: int
    gold: int

    def is_complete(self, sent: int) -> bool:
        """Whether every message sent is accounted for, once."""
        whole = self.bronze == sent == self.silver + self.quarantined + self.duplicates
        return whole and self.gold == self.silver


def counts(lake: Lake, span: Span) -> Counts:
    """The run's rows in each layer as they are now."""
    return Counts(**{name: span.rows(lake, table).count() for name, table in LAYERS.items()})


def query_times(batches: Sequence[BatchHealth], since: datetime) -> dict[str, dict[str, float]]:
    """By query: batches since then, and percentiles of their milliseconds."""
    times: dict[str, dict[str, float]] = {}
    for query in QUERIES:
        spent = sorted(b.batch_ms for b in batches if b.query == query and b.started_at >= since)
        times[query] = {"batches": len(spent)} | {f"{name}_ms": _at(spent, p) for name, p in PERCENTILES.items()}
    return times


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def end_to_end_ms(lake: Lake, span: Span, score_query: str, since: datetime) -> dict[str, float]:
    """Percentiles of the milliseconds from a message's Kafka timestamp to the commit that made its decision visible."""
    decisions = span.rows(lake, gold.DECISIONS).where(F.col("kafka_timestamp") >= F.lit(since))
    commits = _commit_times(lake, score_query, span.began_at)
    elapsed = F.unix_millis("visible_at") - F.unix_millis("kafka_timestamp")
    row = decisions.join(F.broadcast(commits), on="batch_id").agg(*_percentiles(elapsed)).first()
    return {name: float(row[name] or 0.0) if row else 0.0 for name in PERCENTILES}


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
    """What a run did; `as_json` gives the documented keys."""

    sent: int
    failed: int
    counts: Counts
    published: int
    rate_per_minute: float
    end_to_end: Mapping[str, float]
    queries: Mapping[str, Mapping[str, float]]
    warm_up_s: float
    restarts: Mapping[str, int]
    model_version: str

    @property
    def is_complete(self) -> bool:
        """Whether every message sent is accounted for, and every decision published."""
        return self.counts.is_complete(self.sent) and self.published >= self.counts.gold

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "sent": self.sent,
            "failed": self.failed,
            **asdict(self.counts),
            "published": self.published,
            "complete": self.is_complete,
            "rate_per_minute": round(self.rate_per_minute, 1),
            "end_to_end_ms": {name: round(value) for name, value in self.end_to_end.items()},
            "queries": {name: dict(times) for name, times in self.queries.items()},
            "warm_up_s": self.warm_up_s,
            "restarts": dict(self.restarts),
            "model_version": self.model_version,
        }
