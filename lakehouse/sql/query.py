"""SQL over the lake's tables without Spark: DuckDB reads the Delta tables as they are at each query, read-only.

Each statement passes the guard before it runs, and runs under the limits of the settings `sql`.

Works beside a running stream. On Databricks the tables are queried through a SQL warehouse instead.
"""

import importlib.resources
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ComplaintsError
from lakehouse.guard.sql_guard import Guard
from lakehouse.guard.sql_limits import stopped_after
from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import table_path

UNITS = {"m": "MiB", "g": "GiB"}


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
    there = _there(settings, tables)
    if not there:
        msg = f"There are no tables in {settings.folder} yet: run `complaints load` first."
        raise ComplaintsError(msg)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD {_quoted(_delta_extension())}")
    for table in there:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        connection.execute(f"CREATE VIEW {table.name} AS {select_all(settings, table)}")
    scratch = settings.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    walls = restrictions(settings, [settings.folder / "tables"], scratch / f"sql-{os.getpid()}")
    for name, value in walls.items():
        connection.execute(f"SET GLOBAL {name} = $value", {"value": value})
    return connection


def restrictions(settings: Settings, folders: Iterable[Path], spill: Path) -> dict[str, Any]:
    """DuckDB's settings that hold a connection to reading some folders, in the order in which they have to be set.

    Args:
        settings: for the limits.
        folders: what may be read.
        spill: where DuckDB may write what does not fit into memory; it makes this folder, not those above it.
    """
    limits = settings.sql
    return {
        "TimeZone": "UTC",
        "memory_limit": _size(limits.memory),
        "threads": limits.threads,
        "temp_directory": str(spill),
        "max_temp_directory_size": _size(limits.spill),
        "scheduler_process_partial": True,  # a short query gets its turn beside long ones
        "python_enable_replacements": False,  # or an unknown table's name could be a variable of Python
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


def _there(settings: Settings, tables: Iterable[Table]) -> list[Table]:
    return [table for table in tables if (table_path(settings, table) / "_delta_log").is_dir()]


def query(
    settings: Settings,
    tables: Iterable[Table],
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seconds: float | None = None,
) -> Result:
    """The result of one SQL statement; times are given plain, in UTC.

    Args:
        settings: where the lake is, and what DuckDB may use.
        tables: what can be read.
        statement: one SELECT.
        parameters: the values of its `$name`s.
        seconds: how long it may run; None for the project's own, which an erasure needs to the end.

    Raises:
        ComplaintsError: the statement is wrong, not allowed, or takes too long; says what DuckDB found.
    """
    there = _there(settings, tables)
    with open_views(settings, there) as connection:
        try:
            checked = Guard((table.name for table in there), lists_tables=True).checked(connection, statement)
            with stopped_after(connection, seconds) if seconds else nullcontext():
                cursor = connection.execute(checked, parameters or {})
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
