"""Rows that the driver works on, as Arrow tables: Spark hands them over by column, without Python workers."""

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.spark.internals import is_tested


def arrow(frame: DataFrame) -> pa.Table:
    """Return a DataFrame's rows on the driver; the caller bounds their number and size."""
    schema = to_arrow_schema(frame.schema)
    if not is_tested(frame.sparkSession):
        return pa.Table.from_pandas(frame.toPandas(), schema, preserve_index=False)
    # Spark's own batches: pandas would make a Python object of each list.
    batches = frame._collect_as_arrow()
    return pa.Table.from_batches(batches, batches[0].schema if batches else schema).cast(schema)
