"""Incremental aggregates of gold: the rows to append for a set of new decisions.

Reads rows of gold.decisions; returns increments of gold.complaints_by_minute and gold.complaints_by_day. Increments are
appended, so the cost depends only on the new decisions; every measure is combined by sum or by max. A decision that
replaces another takes that one out of the sums, so each complaint is counted once, as it was decided last.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from gold.latency import latency_ms
from gold.tables import BY_DAY, BY_MINUTE, REPLACED
from lakehouse.tables.declaration import Table

KEYS: dict[Table, tuple[str, ...]] = {
    BY_MINUTE: ("minute", "product_family", "urgency", "is_synthetic"),
    BY_DAY: ("date_received", "product_family", "issue", "company", "state", "is_synthetic"),
}
TIME = {BY_MINUTE: "minute", BY_DAY: "date_received"}
GREATEST = frozenset({"latency_ms_max", "scored_batch"})
NEEDED = (  # columns of a decision
    "batch_id",
    "date_received",
    "product_family",
    "issue",
    "company",
    "state",
    "urgency",
    "escalate",
    "probability",
    "scored_with",
    "kafka_timestamp",
    "ingested_at",
    "scored_at",
    "is_synthetic",
    "replaces",
)
SIGN = "_sign"  # 1 for a decision, -1 for one that was replaced


def by_minute(decisions: DataFrame) -> DataFrame:
    """Compute the increments of gold.complaints_by_minute for these decisions."""
    arrived = F.coalesce("kafka_timestamp", "ingested_at")
    latency = F.expr(latency_ms())
    is_new = F.col(SIGN) > 0
    return (
        decisions.transform(_with_replaced)
        .groupBy(F.date_trunc("minute", arrived).alias("minute"), *KEYS[BY_MINUTE][1:])
        .agg(
            *_measures(),
            F.coalesce(F.sum(latency * F.col(SIGN)), F.lit(0)).cast("double").alias("latency_ms_sum"),
            F.coalesce(F.max(F.when(is_new, latency)), F.lit(0)).cast("double").alias("latency_ms_max"),
            F.max("batch_id").alias("scored_batch"),
        )
        .select(BY_MINUTE.column_names)
    )


def by_day(decisions: DataFrame) -> DataFrame:
    """Compute the increments of gold.complaints_by_day for these decisions."""
    names = (F.coalesce(name, F.lit("")).alias(name) for name in ("issue", "company", "state"))
    keys = (F.col("date_received"), F.col("product_family"), *names, F.col("is_synthetic"))
    return decisions.transform(_with_replaced).groupBy(*keys).agg(*_measures()).select(BY_DAY.column_names)


INCREMENTS = {BY_MINUTE: by_minute, BY_DAY: by_day}


def _with_replaced(decisions: DataFrame) -> DataFrame:
    """Add `SIGN`, and a row for each decision that was replaced."""
    names = [name for name in NEEDED if name in REPLACED]
    replaced = decisions.where("replaces IS NOT NULL").select(
        *(F.col(f"replaces.{name}").alias(name) for name in names),
        F.lit(None).cast("bigint").alias("batch_id"),
        F.lit(-1).alias(SIGN),
    )
    return decisions.select(*names, "batch_id", F.lit(1).alias(SIGN)).unionByName(replaced)


def _measures() -> list[Column]:
    def count_where(condition: Column, name: str) -> Column:
        return F.sum(F.when(condition, F.col(SIGN)).otherwise(0)).alias(name)

    return [
        F.sum(SIGN).alias("complaints"),
        count_where(F.col("escalate"), "escalated"),
        count_where(F.col("urgency") == "critical", "critical"),
        count_where(F.col("urgency") == "high", "high"),
        count_where(F.col("scored_with") == "structure", "without_text"),
        F.sum(F.col("probability") * F.col(SIGN)).alias("probability_sum"),
    ]


def consolidated(rows: DataFrame, table: Table) -> DataFrame:
    """Merge an aggregate's rows to one row per key; drop keys whose count is zero."""
    measures = [name for name in table.column_names if name not in KEYS[table]]
    merged = [(F.max if name in GREATEST else F.sum)(name).alias(name) for name in measures]
    return rows.groupBy(*KEYS[table]).agg(*merged).where("complaints <> 0").select(table.column_names)
