"""Values that differ from batch to batch, kept out of the code that Spark generates.

Spark writes a number or a time into the generated code as a constant: each batch would be compiled anew, and would run
cold. An array is handed over beside the code, so that a value taken out of one leaves the code as it was.
"""

from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def per_batch(value: object, anchor: str) -> Column:
    """A constant column whose value stays out of the generated code.

    Args:
        value: what the column holds in every row.
        anchor: any column that is never null; it keeps the optimiser from folding the constant back in.
    """
    return F.get(F.array(F.lit(value)), F.hash(anchor) * 0)


def stamped(rows: DataFrame, column: str) -> DataFrame:
    """The rows (with `record_id`) with the time now in a column, the same in each row.

    Done where a batch is written, not in its plan: Spark's `current_timestamp` would be a constant of the code.
    """
    return rows.withColumn(column, per_batch(datetime.now(UTC), "record_id"))
