"""SQL over the lake's tables without Spark: DuckDB reads the Delta tables as they are at each query, read-only.

Works beside a running stream. On Databricks the tables are queried through a SQL warehouse instead.
"""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.catalogue import Table
from lakehouse.errors import ComplaintsError
from lakehouse.lake import table_path
from lakehouse.settings import Settings

# Not EXPLAIN: with ANALYZE it runs what it explains, and a COPY could write into the lake's own folder.
READING = frozenset({duckdb.StatementType.SELECT})


@dataclass(frozen=True)
class Result:
    """Rows of a query with their columns' names."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def open_views(settings: Settings, tables: Iterable[Table]) -> duckdb.DuckDBPyConnection:
    """A connection with a view a table, which reads nothing but the lake's own folder and writes nothing at all.

    Raises:
        ComplaintsError: the lake has no tables yet.
    """
    there = [table for table in tables if (table_path(settings, table) / "_delta_log").is_dir()]
    if not there:
        msg = f"There are no tables in {settings.folder} yet: run `complaints load` first."
        raise ComplaintsError(msg)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD {_quoted(_delta_extension())}")
    for table in there:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        connection.execute(f"CREATE VIEW {table.name} AS {select_all(settings, table)}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET allowed_directories = [$folder]", {"folder": str(settings.folder / "tables")})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def query(
    settings: Settings, tables: Iterable[Table], statement: str, parameters: Mapping[str, Any] | None = None
) -> Result:
    """The result of one SQL statement; `parameters` are the values of its `$name`s. Times are given plain, in UTC.

    Raises:
        ComplaintsError: the statement is wrong or not allowed; says what DuckDB found.
    """
    with open_views(settings, tables) as connection:
        try:
            statements = connection.extract_statements(statement)
            if len(statements) != 1 or statements[0].type not in READING:
                msg = "Only one SELECT (or DESCRIBE, SUMMARIZE) can be run: the lake is read-only here."
                raise ComplaintsError(msg)
            cursor = connection.execute(statements[0], parameters or {})
            columns = [column[0] for column in cursor.description or ()]
            return Result(columns, [tuple(_plain(value) for value in row) for row in cursor.fetchall()])
        except duckdb.Error as error:
            raise ComplaintsError(_sentence(error)) from error


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.replace(tzinfo=None)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {_plain(key): _plain(each) for key, each in value.items()}
        case _:
            return value


def _sentence(error: duckdb.Error) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip() and set(line.strip()) != {"^"})
    return f"The SQL can't be run: {text}"


def _delta_extension() -> Path:
    """DuckDB's Delta extension, from its wheel; nothing is fetched."""
    package = importlib.resources.files("duckdb_extension_delta")
    brought = next(Path(str(package)).rglob("delta.duckdb_extension"), None)
    if brought is None:
        msg = "The package duckdb-extension-delta lacks its extension: install it again with `make clean setup`."
        raise ComplaintsError(msg)
    return brought


def select_all(settings: Settings, table: Table) -> str:
    """The SELECT of DuckDB that gives a table's rows.

    Timestamps stay DuckDB's TIMESTAMP WITH TIME ZONE, to be read with UTC as the time zone: a filter reaches the
    files' statistics only through a column as it is, not through a conversion, so that any would read every file.
    """
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    return f"SELECT {columns} FROM {_scan(settings, table)}"  # noqa: S608 - names as declared


def _scan(settings: Settings, table: Table) -> str:
    return f"delta_scan({_quoted(table_path(settings, table))})"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
