"""Read-only SQL over the lake's tables without Spark: DuckDB reads the latest version of the Delta tables.

The guard checks each statement before it runs, and the `sql` settings limit its resources.

Works while a stream runs. On Databricks the tables are queried through a SQL warehouse instead.
"""

import importlib.resources
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ComplaintsError
from lakehouse.guard.sql_guard import Guard
from lakehouse.guard.sql_limits import LimitError, stopped_after, too_long
from lakehouse.settings import Settings
from lakehouse.sql.duckdb_types import duckdb_type
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path

ROWS_AT_ONCE = 2_048  # DuckDB's own unit of work
UNITS = {"m": "MiB", "g": "GiB"}


@dataclass(frozen=True)
class Result:
    """The rows and column names of a query."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def open_views(settings: Settings, tables: Iterable[Table]) -> duckdb.DuckDBPyConnection:
    """Open a connection with the tables and their views that can read only the lake's folder and can't write.

    Raises:
        ComplaintsError: the tables are in a workspace, or the lake has none yet.
    """
    if not settings.platform.tables_are_files:
        msg = f"The tables of the environment {settings.environment} are in a workspace: query a SQL warehouse."
        raise ComplaintsError(msg)
    existing = _existing(settings, tables)
    if not existing:
        msg = f"There are no tables in {settings.folder} yet: run `complaints load` first."
        raise ComplaintsError(msg)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD {_quoted(_delta_extension())}")
    for table in existing:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        try:
            connection.execute(f"CREATE VIEW {table.name} AS {select_all(settings, table)}")
        except duckdb.BinderException:  # an earlier version of the project created the table
            connection.execute(f"CREATE VIEW {table.name} AS {_select_present(connection, settings, table)}")
        for view in table.views:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view.layer}")
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql.format(table=table.name)}")
    scratch = settings.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    limits = restrictions(settings, [settings.folder / "tables"], scratch / f"sql-{os.getpid()}")
    for name, value in limits.items():
        connection.execute(f"SET GLOBAL {name} = $value", {"value": value})
    return connection


def restrictions(settings: Settings, folders: Iterable[Path], spill: Path) -> dict[str, Any]:
    """DuckDB settings that restrict a connection to reading some folders, in the order to apply them.

    Args:
        settings: the settings with the limits.
        folders: the folders that may be read.
        spill: where DuckDB may write data that does not fit in memory; DuckDB creates this folder but not its parents.
    """
    limits = settings.sql
    return {
        "TimeZone": "UTC",
        "memory_limit": _size(limits.memory),
        "threads": limits.threads,
        "temp_directory": str(spill),
        "max_temp_directory_size": _size(limits.spill),
        "scheduler_process_partial": True,  # so that long queries don't block short ones
        "python_enable_replacements": False,  # or an unknown table name could resolve to a Python variable
        "enable_logging": False,
        "allow_persistent_secrets": False,
        "allow_community_extensions": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allowed_directories": [str(folder) for folder in folders],
        "enable_external_access": False,
        "lock_configuration": True,
    }


def _size(size: str) -> str:
    return f"{size[:-1]}{UNITS[size[-1]]}"


def _existing(settings: Settings, tables: Iterable[Table]) -> list[Table]:
    return [table for table in tables if (table_path(settings, table) / "_delta_log").is_dir()]


def query(
    settings: Settings,
    tables: Iterable[Table],
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seconds: float | None = None,
) -> Result:
    """Run one SQL statement and return all its rows; arguments, values and errors are those of `running_query`."""
    with running_query(settings, tables, statement, parameters, seconds=seconds) as found:
        return Result(found.columns, list(found.rows))


@dataclass(frozen=True)
class RunningQuery:
    """The column names of a query, and its rows as they are computed."""

    columns: Sequence[str]
    rows: Iterator[Sequence[Any]]


@contextmanager
def running_query(
    settings: Settings,
    tables: Iterable[Table],
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seconds: float | None = None,
) -> Iterator[RunningQuery]:
    """Run one SQL statement; only the rows that the block reads are computed. Timestamps are naive and in UTC.

    Args:
        settings: where the lake is, and DuckDB's limits.
        tables: the tables that can be read.
        statement: one SELECT.
        parameters: values for the statement's `$name` parameters.
        seconds: the limit of the time that DuckDB takes, without that of the block; None for internal queries, which
            an erasure must run to completion.

    Raises:
        ComplaintsError: the statement is invalid, not allowed, or takes too long; the message includes DuckDB's error.
    """
    existing = _existing(settings, tables)
    with open_views(settings, existing) as connection:
        try:
            checked = Guard((name for table in existing for name in table.queryable), lists_tables=True).checked(
                connection, statement
            )
            began = time.monotonic()
            with _stopped_after(connection, seconds, seconds):
                connection.execute(checked, parameters or {})
            columns = [column[0] for column in connection.description or ()]
            yield RunningQuery(columns, _rows(connection, seconds, time.monotonic() - began))
        except duckdb.Error as error:
            raise ComplaintsError(_one_line(error)) from error


def _rows(connection: duckdb.DuckDBPyConnection, seconds: float | None, spent: float) -> Iterator[Sequence[Any]]:
    while True:
        if seconds is not None and spent >= seconds:  # many short reads, none of which was long enough to be stopped
            raise LimitError(too_long(seconds))
        began = time.monotonic()
        with _stopped_after(connection, seconds and seconds - spent, seconds):
            rows = connection.fetchmany(ROWS_AT_ONCE)
        spent += time.monotonic() - began
        if not rows:
            return
        for row in rows:
            yield tuple(_plain(value) for value in row)


def _stopped_after(
    connection: duckdb.DuckDBPyConnection, left: float | None, seconds: float | None
) -> AbstractContextManager[None]:
    return nullcontext() if left is None or seconds is None else stopped_after(connection, left, limit=seconds)


def row_counts(settings: Settings, tables: Iterable[Table]) -> dict[Table, int | None]:
    """The number of rows of each table; None for a table that has not been created.

    Raises:
        ComplaintsError: the lake has no tables yet.
    """
    counted = dict[Table, int | None].fromkeys(tables)
    existing = _existing(settings, counted)
    with open_views(settings, existing) as connection:
        for table in existing:
            row = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - a declared name
            counted[table] = row[0] if row else None
    return counted


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


def _one_line(error: duckdb.Error) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip() and set(line.strip()) != {"^"})
    return f"The SQL can't be run: {text}"


def _delta_extension() -> Path:
    """Path of DuckDB's Delta extension, from its wheel; nothing is downloaded."""
    package = importlib.resources.files("duckdb_extension_delta")
    extension = next(Path(str(package)).rglob("delta.duckdb_extension"), None)
    if extension is None:
        msg = "The package duckdb-extension-delta has no extension in it: install it again with `make clean setup`."
        raise ComplaintsError(msg)
    return extension


def select_all(settings: Settings, table: Table) -> str:
    """The DuckDB SELECT that returns a table's rows.

    Timestamps stay TIMESTAMP WITH TIME ZONE, to be read with UTC as the time zone: DuckDB can skip files by their
    statistics only when a filter is on the plain column, so a converted column would read every file.
    """
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    return f"SELECT {columns} FROM {_scan(settings, table)}"  # noqa: S608 - declared names


def _select_present(connection: duckdb.DuckDBPyConnection, settings: Settings, table: Table) -> str:
    """The SELECT of all declared columns; null where the table does not have them yet."""
    source = _scan(settings, table)
    described = connection.execute(f"SELECT * FROM {source} LIMIT 0").description  # noqa: S608 - own path
    return f"SELECT {declared_or_null(table, table.column_names, described or ())} FROM {source}"  # noqa: S608


def declared_or_null(table: Table, columns: Sequence[str], described: Sequence[Sequence[Any]]) -> str:
    """The SELECT list of columns of a table; null for those that its description by DuckDB does not have."""
    present = {name for name, *_ in described}
    types = {column.name: duckdb_type(column.type) for column in table.columns}
    return ", ".join(f'"{name}"' if name in present else f'NULL::{types[name]} AS "{name}"' for name in columns)


def _scan(settings: Settings, table: Table) -> str:
    return f"delta_scan({_quoted(table_path(settings, table))})"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
