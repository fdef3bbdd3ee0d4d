"""Incremental aggregates of gold: the rows to append for a set of new decisions.

Reads rows of gold.decisions; returns increments of gold.complaints_by_minute and gold.complaints_by_day. Increments are
appended, so the cost depends only on the new decisions; every measure is combined by sum or by max.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from gold.latency import latency_ms
from gold.tables import BY_DAY, BY_MINUTE
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
)


def by_minute(decisions: DataFrame) -> DataFrame:
    """Compute the increments of gold.complaints_by_minute for these decisions."""
    arrived = F.coalesce("kafka_timestamp", "ingested_at")
    latency = F.expr(latency_ms())
    return (
        decisions.groupBy(F.date_trunc("minute", arrived).alias("minute"), *KEYS[BY_MINUTE][1:])
        .agg(
            *_measures(),
            F.coalesce(F.sum(latency), F.lit(0)).cast("double").alias("latency_ms_sum"),
            F.coalesce(F.max(latency), F.lit(0)).cast("double").alias("latency_ms_max"),
            F.max("batch_id").alias("scored_batch"),
        )
        .select(BY_MINUTE.column_names)
    )


def by_day(decisions: DataFrame) -> DataFrame:
    """Compute the increments of gold.complaints_by_day for these decisions."""
    names = (F.coalesce(name, F.lit("")).alias(name) for name in ("issue", "company", "state"))
    keys = (F.col("date_received"), F.col("product_family"), *names, F.col("is_synthetic"))
    return decisions.groupBy(*keys).agg(*_measures()).select(BY_DAY.column_names)


INCREMENTS = {BY_MINUTE: by_minute, BY_DAY: by_day}


def _measures() -> list[Column]:
    def count_where(condition: Column, name: str) -> Column:
        return F.count(F.when(condition, 1)).alias(name)

    return [
        F.count("*").alias("complaints"),
        count_where(F.col("escalate"), "escalated"),
        count_where(F.col("urgency") == "critical", "critical"),
        count_where(F.col("urgency") == "high", "high"),
        count_where(F.col("scored_with") == "structure", "without_text"),
        F.sum("probability").alias("probability_sum"),
    ]


def consolidated(rows: DataFrame, table: Table) -> DataFrame:
    """Merge an aggregate's rows to one row per key; drop keys whose count is zero."""
    measures = [name for name in table.column_names if name not in KEYS[table]]
    merged = [(F.max if name in GREATEST else F.sum)(name).alias(name) for name in measures]
    return rows.groupBy(*KEYS[table]).agg(*merged).where("complaints <> 0").select(table.column_names)
