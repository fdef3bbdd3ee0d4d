"""Batch rows that silver may already hold: which table each row is in, and what remains to be written.

A bronze row is in exactly one of silver.complaints, silver.duplicates and silver.quarantine. When a batch was killed
midway, or is replayed from an older checkpoint, rows already written stay as they are, even if the rules have changed
since; only the other rows are routed. Grain: one bronze row.
"""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.step import Step
from silver.tables import COMPLAINTS, DUPLICATES, QUARANTINE

PLACES = (COMPLAINTS, DUPLICATES, QUARANTINE)
REFUSED_BEFORE = "refused_before"


def placed(complaints: DataFrame, duplicates: DataFrame, quarantine: DataFrame) -> Step:
    """Return the step that adds `place`, the table a row is in, and `placed_at`, since when.

    Both are null for a row that is in no table.

    Args:
        complaints: rows of silver.complaints, including all that belong to the batch.
        duplicates: rows of silver.duplicates, likewise.
        quarantine: rows of silver.quarantine, likewise.

    The returned step takes refined rows with `position`. A row already in a table stays routed to it: a stored
    complaint gets position 0, so it is the first row with its complaint id.
    """
    tables = zip(PLACES, (complaints, duplicates, quarantine), strict=True)
    places = [
        rows.select("record_id", F.lit(table.name).alias("place"), F.col("refined_at").alias("placed_at"))
        for table, rows in tables
    ]
    stored = reduce(DataFrame.unionByName, places)
    no_reasons = F.array().cast("array<string>")

    def place(rows: DataFrame) -> DataFrame:
        return rows.join(stored, "record_id", "left").withColumns(
            {
                "reasons": F.when(is_in(QUARANTINE.name), F.array(F.lit(REFUSED_BEFORE)))
                .when(F.col("place").isNotNull(), no_reasons)
                .otherwise(F.col("reasons")),
                "position": F.when(is_in(COMPLAINTS.name), 0).otherwise(F.col("position")).cast("bigint"),
            }
        )

    return place


def is_in(name: str) -> Column:
    """Whether a row is in the table with this name."""
    return F.coalesce(F.col("place") == name, F.lit(col=False))


def is_nowhere() -> Column:
    """Whether a row is in no table yet."""
    return F.col("place").isNull()


def not_applied(rows: DataFrame, outcomes: DataFrame) -> DataFrame:
    """Return the placed rows whose outcome silver.outcomes may be missing.

    An outcome written after a row was placed already includes that row, and may be newer. If the stored outcome came
    from one of these rows, all of them are returned: merged in order they give the same result plus what is missing.

    Args:
        rows: placed rows, all that the batch has for each complaint.
        outcomes: rows of silver.outcomes for these complaints.
    """
    last = outcomes.select("complaint_id", F.col("record_id").alias("last"), F.col("observed_at").alias("last_at"))
    from_here = F.max(F.col("record_id") == F.col("last")).over(Window.partitionBy("complaint_id"))
    has_it = ~is_nowhere() & (F.col("last_at") >= F.col("placed_at")) & ~from_here
    marked = rows.join(last, "complaint_id", "left").withColumn("has_it", F.coalesce(has_it, F.lit(col=False)))
    return marked.where(~F.col("has_it")).drop("last", "last_at", "has_it")
