"""The SQL templates run in DuckDB and in Spark and return the same rows."""

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from dashboards.assets import Assets
from dashboards.queries import FOLDER, chart_files
from dashboards.server.lake_views import Views
from dashboards.views import described, served, views
from lakehouse.tables.lake import Lake
from lakehouse.tables.stores import table_path
from streaming.tables import TABLES

TEMPLATES = sorted(FOLDER.rglob("*.sql"))


@pytest.fixture(scope="module")
def in_duckdb(scored: Lake, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    home = tmp_path_factory.mktemp("home")
    (home / "views.json").write_text(json.dumps(described(scored.settings, TABLES)))
    return Views(home).connection()


@pytest.fixture(scope="module")
def in_spark(scored: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The same tables and views with the same names in Spark's catalog."""
    spark, folder = scored.spark, tmp_path_factory.mktemp("warehouse")
    schemas = ("silver", "gold", "serving")
    for schema in schemas:
        spark.sql(f"CREATE DATABASE {schema} LOCATION '{folder / schema}'")
    for table in served(TABLES):
        spark.sql(f"CREATE TABLE {table.name} USING DELTA LOCATION '{table_path(scored.settings, table)}'")
        for own in table.views:
            spark.sql(f"CREATE VIEW {own.name} AS {own.sql.format(table=table.name)}")
    for view in views():
        spark.sql(f"CREATE VIEW {view.name} AS {view.sql}")
    yield spark
    for schema in schemas:
        spark.sql(f"DROP DATABASE {schema} CASCADE")


def plain(value: Any) -> Any:  # noqa: ANN401
    """Normalize a value for comparison: numbers to six digits, dates as midnight."""
    if isinstance(value, Decimal | float):
        return round(float(value), 6)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day).isoformat()  # noqa: DTZ001
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def rows_of(rows: list[tuple[Any, ...]]) -> list[str]:
    return sorted(repr([plain(value) for value in row]) for row in rows)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_duckdb_and_spark_return_the_same_rows(
    path: Path, in_duckdb: duckdb.DuckDBPyConnection, in_spark: SparkSession
) -> None:
    sql = path.read_text()
    result = in_duckdb.execute(sql)
    columns = [column[0] for column in result.description or ()]
    found = in_spark.sql(sql)
    assert found.columns == columns
    assert rows_of([tuple(row) for row in found.collect()]) == rows_of(result.fetchall())


def test_there_are_at_least_twenty_analyst_queries_and_each_starts_with_a_comment() -> None:
    assert len(list((FOLDER / "analysts").glob("*.sql"))) >= 20
    for path in TEMPLATES:
        assert path.read_text().startswith("-- "), path


def test_the_stored_sql_of_the_charts_is_up_to_date() -> None:
    files = chart_files(Assets())
    assert {path: path.read_text() for path in (FOLDER / "charts").glob("*.sql")} == files
