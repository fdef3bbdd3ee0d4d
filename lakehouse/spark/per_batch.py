"""Values that change with each batch, passed so that Spark's generated code stays the same.

Spark puts a number or a timestamp into the generated code as a constant, so each batch would be compiled again and run
cold. An array is passed to the code as a reference, so a value taken from an array leaves the code unchanged.
"""

from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def per_batch(value: object, anchor: str) -> Column:
    """Return a constant column whose value is not part of the generated code.

    Args:
        value: the column's value in every row.
        anchor: any column that is never null; it keeps the optimizer from folding the constant back in.
    """
    return F.get(F.array(F.lit(value)), F.hash(anchor) * 0)


def stamped(rows: DataFrame, column: str) -> DataFrame:
    """Add a column with the current time, the same in each row; the rows must have `record_id`.

    Call this where a batch is written, not in its plan: Spark's `current_timestamp` would be a constant in the code.
    """
    return rows.withColumn(column, per_batch(datetime.now(UTC), "record_id"))
