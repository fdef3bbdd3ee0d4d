"""DuckDB can create each declared column, as Spark has it."""

import duckdb
import pytest

from lakehouse.sql.duckdb_types import duckdb_type
from streaming.tables import TABLES

DECLARED = sorted({column.type for table in TABLES for column in table.columns})


@pytest.mark.parametrize("declared", DECLARED)
def test_duckdb_knows_every_declared_type(declared: str) -> None:
    assert duckdb.sql(f"SELECT CAST(NULL AS {duckdb_type(declared)})").fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("timestamp", "TIMESTAMPTZ"),
        ("array<string>", "VARCHAR[]"),
        ("array<struct<feature:string,contribution:double>>", 'STRUCT("feature" VARCHAR, "contribution" double)[]'),
    ],
)
def test_nested_types_are_written_as_duckdb_does(declared: str, expected: str) -> None:
    assert duckdb_type(declared) == expected
