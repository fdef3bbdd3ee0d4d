"""Rows worked out once and held in memory while a batch is written.

Spark's own `persist` is not for frames that read a table which the same batch writes: each commit makes Spark drop what
such a frame holds and work it out again, from the table as it is then. It also compares every later plan with what is
held, expression by expression. What is held here is a leaf of later plans: a step after it is planned alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame

from lakehouse.spark.internals import is_tested


@contextmanager
def held(rows: DataFrame) -> Iterator[DataFrame]:
    """The same rows, worked out by the first action on them and held until the context is left."""
    kept = rows.localCheckpoint(eager=False)
    try:
        yield kept
    finally:
        if is_tested(rows.sparkSession):  # else Spark lets it go itself, once Python has
            kept._jdf.queryExecution().analyzed().rdd().unpersist(False)  # noqa: FBT003
