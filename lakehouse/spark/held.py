"""Rows that are computed once and held in memory while a batch is written.

Spark's `persist` does not work for a DataFrame that reads a table which the same batch writes: each commit makes Spark
drop the cached rows and compute them again from the table's new version. Spark also compares every later plan with the
cached plans, expression by expression. Rows held here are a leaf of later plans, so only the steps after it are
planned.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame

from lakehouse.spark.internals import is_tested


@contextmanager
def held(rows: DataFrame) -> Iterator[DataFrame]:
    """The same rows, computed by the first action on them and held until the context exits."""
    checkpointed = rows.localCheckpoint(eager=False)
    try:
        yield checkpointed
    finally:
        if is_tested(rows.sparkSession):  # else Spark frees it when Python does
            checkpointed._jdf.queryExecution().analyzed().rdd().unpersist(False)  # noqa: FBT003
