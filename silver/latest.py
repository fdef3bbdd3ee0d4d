"""The latest row of each complaint."""

from pyspark.sql import functions as F

from lakehouse.step import Step


def latest(order: str) -> Step:
    """Return the step that keeps each complaint's row with the greatest value of a column; all columns stay."""
    return lambda rows: (
        rows.groupBy("complaint_id")
        .agg(F.max_by(F.struct(*(F.col(name) for name in rows.columns)), order).alias("_row"))
        .select("_row.*")
    )
