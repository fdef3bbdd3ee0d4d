"""The table declarations are complete: names, grain, comments, clustering, statistics and constraints."""

import re
from collections import Counter

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, LongType, StringType, StructField, StructType

from lakehouse.tables.declaration import STATISTICS, Column, Table
from streaming.tables import TABLES

each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def test_the_schema_has_types_order_nullability_and_comments(spark: SparkSession) -> None:
    columns = (Column("id", "bigint", "Its number.", nullable=False), Column("tags", "array<string>", "Words on it."))
    table = Table("silver.things", "one thing", "Things.", columns)
    assert spark.version
    assert table.schema == StructType(
        [
            StructField("id", LongType(), nullable=False, metadata={"comment": "Its number."}),
            StructField("tags", ArrayType(StringType()), metadata={"comment": "Words on it."}),
        ]
    )
    assert (table.layer, table.column_names) == ("silver", ["id", "tags"])


def test_table_names_are_unique() -> None:
    assert not [name for name, count in Counter(table.name for table in TABLES).items() if count > 1]


@each_table
def test_a_table_has_a_layer_a_grain_and_comments(table: Table) -> None:
    assert re.fullmatch(r"(bronze|silver|gold)\.[a-z][a-z_]*", table.name)
    assert table.grain
    assert table.comment.endswith(".")
    assert len(set(table.column_names)) == len(table.columns) > 1
    for column in table.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert column.comment.endswith("."), column.name


@each_table
def test_clustering_statistics_and_constraints_name_columns_of_the_table(table: Table) -> None:
    statistics = [name for name in table.properties.get(STATISTICS, "").split(",") if name]
    assert {*table.cluster_by, *statistics} <= set(table.column_names)
    for condition in table.constraints.values():
        assert any(re.search(rf"\b{name}\b", condition) for name in table.column_names)
