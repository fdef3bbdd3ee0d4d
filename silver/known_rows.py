"""Rows of a batch that may be in silver already: where each of them is, and what is still to be written of it.

A row of bronze is in one of silver.complaints, silver.duplicates and silver.quarantine, once. A batch that was cut off
by a kill, or is read again from a checkpoint that lies further back, leaves what is there as it is, whatever the rules
say of it by now; the other rows are sorted out beside it. Grain: one row of bronze.
"""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.step import Step
from silver.tables import COMPLAINTS, DUPLICATES, QUARANTINE

PLACES = (COMPLAINTS, DUPLICATES, QUARANTINE)
REFUSED_BEFORE = "refused_before"


def placed(complaints: DataFrame, duplicates: DataFrame, quarantine: DataFrame) -> Step:
    """The step that adds `place`, the table that a row is in, and `placed_at`, since when; null for a row in none.

    Args:
        complaints: rows of silver.complaints, those of the batch among them; as also the others.
        duplicates: rows of silver.duplicates.
        quarantine: rows of silver.quarantine.

    The returned step takes refined rows with `position`. A row in a table keeps the verdict that put it there: a
    complaint comes first of its number.
    """
    tables = zip(PLACES, (complaints, duplicates, quarantine), strict=True)
    places = [
        rows.select("record_id", F.lit(table.name).alias("place"), F.col("refined_at").alias("placed_at"))
        for table, rows in tables
    ]
    there = reduce(DataFrame.unionByName, places)
    none = F.array().cast("array<string>")

    def place(rows: DataFrame) -> DataFrame:
        return rows.join(there, "record_id", "left").withColumns(
            {
                "reasons": F.when(is_in(QUARANTINE.name), F.array(F.lit(REFUSED_BEFORE)))
                .when(F.col("place").isNotNull(), none)
                .otherwise(F.col("reasons")),
                "position": F.when(is_in(COMPLAINTS.name), 0).otherwise(F.col("position")).cast("bigint"),
            }
        )

    return place


def is_in(name: str) -> Column:
    """Whether a row is in the table of this name."""
    return F.coalesce(F.col("place") == name, F.lit(col=False))


def is_nowhere() -> Column:
    """Whether a row is in no table yet."""
    return F.col("place").isNull()


def not_applied(rows: DataFrame, outcomes: DataFrame) -> DataFrame:
    """The placed rows whose outcome silver.outcomes may not have.

    What was written later than a row was placed has it, and may be newer than that. When it stems from one of these
    rows itself, all of them are given: in their order they come to the same, and to what is missing.

    Args:
        rows: placed rows, all that a batch has of a complaint.
        outcomes: rows of silver.outcomes of these complaints.
    """
    last = outcomes.select("complaint_id", F.col("record_id").alias("last"), F.col("observed_at").alias("last_at"))
    from_here = F.max(F.col("record_id") == F.col("last")).over(Window.partitionBy("complaint_id"))
    has_it = ~is_nowhere() & (F.col("last_at") >= F.col("placed_at")) & ~from_here
    marked = rows.join(last, "complaint_id", "left").withColumn("has_it", F.coalesce(has_it, F.lit(col=False)))
    return marked.where(~F.col("has_it")).drop("last", "last_at", "has_it")
