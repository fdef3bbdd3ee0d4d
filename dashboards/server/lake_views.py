"""A DuckDB file of views over the lake, opened read-only, and the check that lets one plain SELECT at a time through.

Runs in Superset's own Python. `views.json` in `LAKE_SUPERSET_HOME` describes the tables (folder, SQL when it is there,
SQL of an empty one when it is not) and the views over them. The file is made anew when tables have come. DuckDB's own
parser says what a statement is: anything but one SELECT, and any function that could reach a file, is refused.
"""

import hashlib
import importlib.resources
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

# Functions in FROM that read nothing but the catalogue, or nothing at all.
TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "duckdb_schemas", "duckdb_tables", "duckdb_views", "duckdb_columns"}
)
NAME = re.compile(r"\w*\Z")  # of a table; a file's path has other characters
EXTENSION = "delta.duckdb_extension"


class RefusedError(duckdb.Error):
    """Raised for a statement that may not run here."""


class Views:
    """Opens the DuckDB file of one folder, and makes it when it is missing or the lake has more tables than it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._digest = ""
        self._root: duckdb.DuckDBPyConnection | None = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the views as the lake is now."""
        text = (self._home / "views.json").read_bytes()
        described = json.loads(text)
        there = [table["name"] for table in described["tables"] if (Path(table["folder"]) / "_delta_log").is_dir()]
        digest = hashlib.sha256(text + repr(there).encode()).hexdigest()[:16]
        with self._lock:
            if self._root is None or digest != self._digest:
                path = self._home / "views" / digest / "lakehouse.duckdb"
                if not path.is_file():
                    _make(path, described, frozenset(there))
                self._root = _opened(path, described)
                self._digest = digest
            return self._root.cursor()


def _make(path: Path, described: dict[str, Any], there: frozenset[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with duckdb.connect(str(unfinished), config={"autoinstall_known_extensions": "false"}) as connection:
        _load_delta(connection)
        for table in described["tables"]:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table['name'].split('.')[0]}")
            select = table["present"] if table["name"] in there else table["absent"]
            connection.execute(f"CREATE VIEW {table['name']} AS {select}")
        for signature, body in described["macros"].items():
            connection.execute(f"CREATE MACRO {signature} AS {body}")
        for view in described["views"]:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view['name'].split('.')[0]}")
            connection.execute(f"CREATE VIEW {view['name']} AS {view['sql']}")
    unfinished.replace(path)


def _opened(path: Path, described: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), read_only=True, config={"autoinstall_known_extensions": "false"})
    _load_delta(connection)
    folders = [table["folder"] for table in described["tables"]]
    connection.execute("SET allowed_directories = $folders", {"folders": folders})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _load_delta(connection: duckdb.DuckDBPyConnection) -> None:
    brought = next(Path(str(importlib.resources.files("duckdb_extension_delta"))).rglob(EXTENSION))
    connection.execute(f"LOAD '{brought}'")


def check(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Raise RefusedError unless the statement is one SELECT over tables and views by name."""
    row = connection.execute("SELECT json_serialize_sql($statement)", {"statement": statement}).fetchone()
    parsed: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if parsed["error"]:
        if parsed.get("error_type") == "parser":
            msg = f"Parser Error: {parsed['error_message']}"
            raise RefusedError(msg)
        parsed["statements"] = []
    if len(parsed["statements"]) != 1:
        msg = "Only one SELECT can be run: the lake is read-only here."
        raise RefusedError(msg)
    for node in _nodes(parsed["statements"]):
        if node.get("type") == "TABLE_FUNCTION" and node["function"]["function_name"] not in TABLE_FUNCTIONS:
            msg = f"The function {node['function']['function_name']} can't be used here: only gold's views can be read."
            raise RefusedError(msg)
        if node.get("type") == "SHOW_REF":
            msg = "DESCRIBE, SHOW and SUMMARIZE can't be used here: SELECT from gold's views."
            raise RefusedError(msg)
        if node.get("type") == "BASE_TABLE" and not NAME.match(node["table_name"]):
            msg = f"{node['table_name']} can't be read: only gold's views can be."
            raise RefusedError(msg)


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for below in tree.values():
            yield from _nodes(below)
    elif isinstance(tree, list):
        for below in tree:
            yield from _nodes(below)
