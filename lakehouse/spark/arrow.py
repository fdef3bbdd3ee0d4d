"""Rows that the driver works on: Spark takes them and hands them over by column, without Python workers."""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.spark.internals import is_tested


def arrow(rows: DataFrame) -> pa.Table:
    """Return a DataFrame's rows on the driver; the caller bounds their number and size."""
    schema = to_arrow_schema(rows.schema)
    if not is_tested(rows.sparkSession):
        return pa.Table.from_pandas(rows.toPandas(), schema, preserve_index=False)
    # Spark's own batches: pandas would make a Python object of each list.
    batches = rows._collect_as_arrow()
    return pa.Table.from_batches(batches, batches[0].schema if batches else schema).cast(schema)


def frame(columns: Mapping[str, Collection[Any]], schema: str, spark: SparkSession) -> DataFrame:
    """Return rows of the driver as a DataFrame.

    Args:
        columns: the values of each column.
        schema: the columns' names and types, as DDL, in the same order.
        spark: the session.
    """
    return spark.createDataFrame(pa.table(dict(columns)).to_pandas(), schema)
