"""Fill gold as after a given number of complaints: copies of real decisions with new ids and times.

Reads the decisions and outcomes of one lake; fills another, empty one. The rows look like those of a stream of 10,000
complaints per minute that ends now, with receipt dates over ten years, in files as compaction writes them.
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
from streaming.status import QUERIES
from streaming.tables import TABLES

ROWS_PER_FILE = 250_000
ROWS_PER_BATCH = 667  # four seconds
GAP_MS = 6  # between two complaints at 10,000 per minute
DAYS = 3650
REFUSED = 100  # one in this many rows is quarantined
FIRST_ID = 10_000_000
VERSIONS, WEEKS = 3, 520
MEASURES = ("auc_roc", "ece", "base_rate")
FEATURES = ("probability", "product_family", "issue", "company", "state", "submitted_via", "tags")


@dataclass(frozen=True)
class _Source:
    """The source rows: decisions with their position (`rank`), their outcomes, and the count."""

    decisions: DataFrame
    outcomes: DataFrame
    count: int


def fill(source: Lake, target: Lake, rows: int, notify: Callable[[str], None] = lambda _: None) -> None:
    """Fill an empty lake with `rows` decisions, their outcomes, and the other tables that dashboards read.

    Raises:
        ComplaintsError: the source has no decisions.
    """
    target.create(TABLES)
    few = _source(source)
    ids = target.spark.range(0, rows, numPartitions=max(1, rows // ROWS_PER_FILE))
    numbered = ids.withColumn("rank", F.col("id") % few.count).withColumns(_times(rows))
    batches = target.spark.range(0, max(1, rows // ROWS_PER_BATCH), numPartitions=1).withColumnRenamed("id", "batch_id")
    filled: Mapping[Table, Callable[[], DataFrame]] = {
        DECISIONS: lambda: _joined(numbered, few.decisions),
        OUTCOMES: lambda: _joined(numbered, few.outcomes).withColumns(
            {"complaint_received": F.col("date_received"), "observed_at": F.col("refined_at")}
        ),
        QUARANTINE: lambda: numbered.where(F.col("id") % REFUSED == 0),
        STREAM_HEALTH: lambda: _health(batches, rows),
        EXPECTATIONS: lambda: _broken(batches, rows),
        MODEL_QUALITY: lambda: _quality(target.spark),
        BY_MINUTE: lambda: target.read(DECISIONS).transform(by_minute),
    }
    for table, frame in filled.items():
        notify(f"Filling {table.name}.")
        shaped = _shaped(frame(), table)
        shaped.write.format("delta").mode("append").save(str(target.path(table)))


def nothing_to_multiply(lake: Lake) -> ComplaintsError:
    """Return the error for a lake without decisions."""
    return ComplaintsError(f"There are no decisions in {lake.settings.folder} to copy: run `complaints score` first.")


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
    """Return ids and times from a row's number: ids, receipt dates and arrival times all ascend."""
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


def _joined(numbered: DataFrame, few: DataFrame) -> DataFrame:
    """Return the rows with the columns of the source rows added; existing columns keep their values."""
    added = [name for name in few.columns if name == "rank" or name not in numbered.columns]
    return numbered.join(F.broadcast(few.select(added)), on="rank")


def _health(batches: DataFrame, rows: int) -> DataFrame:
    queries = F.explode(F.array(*map(F.lit, QUERIES)))
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
    measures = [F.struct(F.lit(name).alias("measure"), F.lit("").alias("feature")) for name in MEASURES]
    measures += [F.struct(F.lit("population_stability").alias("measure"), F.lit(f).alias("feature")) for f in FEATURES]
    numbers = spark.range(VERSIONS * WEEKS, numPartitions=1)
    week = F.expr(f"date_sub(date_trunc('week', current_date()), int(id div {VERSIONS}) * 7)")
    return numbers.select(
        (F.col("id") % VERSIONS + 1).cast("string").alias("model_version"),
        week.alias("week"),
        F.explode(F.array(*measures)).alias("of"),
    ).select("*", "of.*", F.lit(1_000).alias("rows"), F.rand(3).alias("value"), F.lit(col=False).alias("is_alert"))


def _shaped(frame: DataFrame, table: Table) -> DataFrame:
    """Return the table's columns: missing required ones are empty, missing nullable ones are null."""
    present = set(frame.columns)
    return frame.select(
        *(
            (F.col(field.name) if field.name in present else F.lit(None if field.nullable else ""))
            .cast(field.dataType)
            .alias(field.name)
            for field in table.schema.fields
        )
    )
