"""Gold as it would be after so many complaints: real decisions over and over, under ids and at times of their own.

Reads the decisions, outcomes and refusals of one lake; fills another, empty one. The rows arrive as from a stream of
10,000 a minute that ends now, are received over ten years, and lie in files as compaction leaves them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from gold.aggregates import by_minute
from gold.tables import BY_MINUTE, DECISIONS, MODEL_QUALITY, STREAM_HEALTH
from lakehouse.errors import ComplaintsError
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver.tables import ABOUT, EXPECTATIONS, OUTCOMES, QUARANTINE
from streaming.tables import TABLES

ROWS_PER_FILE = 250_000
ROWS_PER_BATCH = 667  # four seconds
GAP_MS = 6  # between two complaints at 10,000 a minute
DAYS = 3650
REFUSED = 100  # one of so many is quarantined
FIRST_ID = 10_000_000
VERSIONS, WEEKS = 3, 520
MEASURES = ("auc_roc", "ece", "base_rate")
FEATURES = ("probability", "product_family", "issue", "company", "state", "submitted_via", "tags")


@dataclass(frozen=True)
class _Source:
    """What is multiplied: decisions with their place (`rank`) and their outcomes, and how many there are."""

    decisions: DataFrame
    outcomes: DataFrame
    count: int


def fill(source: Lake, target: Lake, rows: int, notify: Callable[[str], None] = lambda _: None) -> None:
    """Fill an empty lake with so many decisions, their outcomes, and what the dashboards read beside them.

    Raises:
        ComplaintsError: the source has no decisions.
    """
    target.create(TABLES)
    few = _source(source)
    ids = target.spark.range(0, rows, numPartitions=max(1, rows // ROWS_PER_FILE))
    placed = ids.withColumn("rank", F.col("id") % few.count).withColumns(_times(rows))
    batches = target.spark.range(0, max(1, rows // ROWS_PER_BATCH), numPartitions=1).withColumnRenamed("id", "batch_id")
    filled: Mapping[Table, Callable[[], DataFrame]] = {
        DECISIONS: lambda: _joined(placed, few.decisions),
        OUTCOMES: lambda: _joined(placed, few.outcomes).withColumns(
            {"complaint_received": F.col("date_received"), "observed_at": F.col("refined_at")}
        ),
        QUARANTINE: lambda: placed.where(F.col("id") % REFUSED == 0),
        STREAM_HEALTH: lambda: _health(batches, rows),
        EXPECTATIONS: lambda: _broken(batches, rows),
        MODEL_QUALITY: lambda: _quality(target.spark),
        BY_MINUTE: lambda: target.read(DECISIONS).transform(by_minute),
    }
    for table, made in filled.items():
        notify(f"Filling {table.name}.")
        shaped = _shaped(made(), table)
        shaped.write.format("delta").mode("append").save(str(target.path(table)))


def nothing_to_multiply(lake: Lake) -> ComplaintsError:
    """What to say of a lake without decisions."""
    return ComplaintsError(
        f"There are no decisions in {lake.settings.folder} to multiply: run `complaints score` first."
    )


def _source(lake: Lake) -> _Source:
    rank = F.row_number().over(Window.orderBy("complaint_id")) - 1
    decisions = lake.read(DECISIONS).withColumn("rank", rank).localCheckpoint()
    count = decisions.count()
    if not count:
        raise nothing_to_multiply(lake)
    about = (F.col(intake).alias(name) for name, intake in ABOUT.items())
    outcomes = lake.read(OUTCOMES).drop(*ABOUT).join(decisions.select("complaint_id", "rank", *about), "complaint_id")
    return _Source(decisions, outcomes, count)


def _times(rows: int) -> dict[str, Column]:
    """Where a complaint stands in time, by its number: ids, days of receipt and arrivals all ascend."""
    now = F.unix_millis(F.current_timestamp())
    batch = F.floor(F.col("id") / ROWS_PER_BATCH)
    arrived = now - (rows - F.col("id")) * GAP_MS
    scored = now - (rows - (batch + 1) * ROWS_PER_BATCH) * GAP_MS + 1_500
    return {
        "complaint_id": F.col("id") + FIRST_ID,
        "record_id": F.concat(F.lit("bench/0/"), F.col("id")),
        "date_received": F.expr(f"date_sub(current_date(), int(({rows} - id) * {DAYS}L div {rows}))"),
        "batch_id": batch,
        "kafka_timestamp": F.timestamp_millis(arrived),
        "ingested_at": F.timestamp_millis(arrived + 1_000),
        "refined_at": F.timestamp_millis(scored - 1_000),
        "scored_at": F.timestamp_millis(scored),
    }


def _joined(placed: DataFrame, few: DataFrame) -> DataFrame:
    """The rows with what is known of the real ones; what a row has of its own stays its own."""
    kept = [name for name in few.columns if name == "rank" or name not in placed.columns]
    return placed.join(F.broadcast(few.select(kept)), on="rank")


def _health(batches: DataFrame, rows: int) -> DataFrame:
    queries = F.explode(F.array(*map(F.lit, ("ingest", "refine", "score", "summarise"))))
    began = F.unix_millis(F.current_timestamp()) - (rows - F.col("batch_id") * ROWS_PER_BATCH) * GAP_MS
    spent = (F.rand(1) * 2_000).cast("bigint")
    return batches.withColumn("query", queries).withColumns(
        {
            "started_at": F.timestamp_millis(began),
            "rows": F.lit(ROWS_PER_BATCH),
            "batch_ms": spent,
            "lag_rows": F.when(F.col("query") == "ingest", (F.rand(2) * ROWS_PER_BATCH).cast("bigint")),
        }
    )


def _broken(batches: DataFrame, rows: int) -> DataFrame:
    began = F.unix_millis(F.current_timestamp()) - (rows - F.col("batch_id") * ROWS_PER_BATCH) * GAP_MS
    rule = F.concat(F.lit("rule_"), F.col("batch_id") % len(FEATURES))
    return batches.withColumns(
        {"rule": rule, "checked": F.lit(ROWS_PER_BATCH), "broken": F.lit(1), "refined_at": F.timestamp_millis(began)}
    )


def _quality(spark: SparkSession) -> DataFrame:
    figures = [F.struct(F.lit(name).alias("measure"), F.lit("").alias("feature")) for name in MEASURES]
    figures += [F.struct(F.lit("population_stability").alias("measure"), F.lit(f).alias("feature")) for f in FEATURES]
    numbers = spark.range(VERSIONS * WEEKS, numPartitions=1)
    week = F.expr(f"date_sub(date_trunc('week', current_date()), int(id div {VERSIONS}) * 7)")
    return numbers.select(
        (F.col("id") % VERSIONS + 1).cast("string").alias("model_version"),
        week.alias("week"),
        F.explode(F.array(*figures)).alias("of"),
    ).select("*", "of.*", F.lit(1_000).alias("rows"), F.rand(3).alias("value"), F.lit(col=False).alias("is_alert"))


def _shaped(frame: DataFrame, table: Table) -> DataFrame:
    """The table's columns: a needed one that the frame lacks is filled, another left null."""
    there = set(frame.columns)
    return frame.select(
        *(
            (F.col(field.name) if field.name in there else F.lit(None if field.nullable else ""))
            .cast(field.dataType)
            .alias(field.name)
            for field in table.schema.fields
        )
    )
