"""Types of declared columns, which are Spark's, in DuckDB's syntax."""

import re

_NAMES = {"string": "VARCHAR", "binary": "BLOB", "timestamp": "TIMESTAMPTZ"}  # where they differ


def duckdb_type(spark: str) -> str:
    """A Spark SQL type in DuckDB's syntax: ``array<struct<a:int>>`` is ``STRUCT("a" int)[]``."""
    spark = spark.strip()
    if inner := re.fullmatch(r"array<(.*)>", spark):
        return f"{duckdb_type(inner[1])}[]"
    if inner := re.fullmatch(r"struct<(.*)>", spark):
        fields = (field.split(":", 1) for field in re.split(r",(?![^<]*>)", inner[1]))
        return "STRUCT(" + ", ".join(f'"{name.strip()}" {duckdb_type(type_)}' for name, type_ in fields) + ")"
    return _NAMES.get(spark, spark)
