"""Rows that the driver works on, as Arrow tables: Spark hands them over by column, without Python workers."""

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema


def arrow(frame: DataFrame) -> pa.Table:
    """Return a DataFrame's rows on the driver; the caller bounds their number and size."""
    return pa.Table.from_pandas(frame.toPandas(), to_arrow_schema(frame.schema), preserve_index=False)
