"""A DuckDB file of views over the lake, opened read-only and restricted to the folders of the tables.

Runs in Superset's own Python. `views.json` in `LAKE_SUPERSET_HOME` describes the tables (folder, SQL if the table
exists, SQL of an empty one if not), the views over them, and DuckDB's settings. The file is rebuilt when there are new
tables. `sql_guard` decides what may run on a connection.
"""

import hashlib
import importlib.resources
import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import duckdb

EXTENSION = "delta.duckdb_extension"


class Views:
    """Opens the DuckDB file of one folder, and creates it when it is missing or the lake's tables have changed.

    If a table can't be read, since it is gone or its columns have changed, only the views that read it are missing.
    `why` says which table it is.

    Args:
        home: the folder of `views.json`.
        name: distinguishes these views from others of the same folder; each has its own memory.
    """

    def __init__(self, home: Path, name: str = "views") -> None:
        self._home = home
        self._folder = home / name
        self._lock = threading.Lock()
        self._state: tuple[bytes, list[str]] | None = None
        self._path: Path | None = None
        self._root: duckdb.DuckDBPyConnection | None = None
        self._is_whole = True

    def described(self) -> dict[str, Any]:
        """The content of `views.json`."""
        described: dict[str, Any] = json.loads((self._home / "views.json").read_bytes())
        return described

    def columns(self, view: str) -> list[tuple[str, str]]:
        """The columns of a view, each with its type in DuckDB; none when there is no such view."""
        asked = "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name || '.' || table_name = $view"
        return self.connection().execute(f"{asked} ORDER BY column_index", {"view": view}).fetchall()

    def connection(self) -> duckdb.DuckDBPyConnection:
        """A new connection to the views over the current lake."""
        text = (self._home / "views.json").read_bytes()
        described = json.loads(text)
        there = [table["name"] for table in described["tables"] if (Path(table["folder"]) / "_delta_log").is_dir()]
        with self._lock:
            if self._root is None or self._state != (text, there) or not self._is_whole:
                broken = sorted(self._broken(described, there))
                digest = hashlib.sha256(text + repr((there, broken)).encode()).hexdigest()[:16]
                path = self._folder / digest / "lakehouse.duckdb"
                if not path.is_file():
                    _make(path, described, frozenset(there), frozenset(broken))
                if self._root is None or path != self._path:
                    self._root = _opened(path, described)
                self._state, self._path, self._is_whole = (text, there), path, not broken
            return self._root.cursor()

    def why(self, statement: str) -> str | None:
        """Why a statement fails: the tables below it that can't be read, and what is wrong with each."""
        described = self.described()
        there = [table["name"] for table in described["tables"] if (Path(table["folder"]) / "_delta_log").is_dir()]
        with self._lock:
            broken = self._broken(described, there)
            self._is_whole = not broken
        sql = {view["name"]: view["sql"] for view in described["views"]}
        asked = statement.replace('"', "")
        read = " ".join([asked, *(sql[name] for name in sql if re.search(rf"\b{re.escape(name)}\b", asked))])
        return " ".join(broken[name] for name in sorted(broken) if name in read) or None

    def _broken(self, described: dict[str, Any], there: list[str]) -> dict[str, str]:
        """The tables that can't be read, each with a sentence; one that never existed is empty, not broken."""
        seen = self._seen(there)
        found = {name: f"The table {name} is gone from the lake." for name in seen if name not in there}
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
            _load_delta(connection)
            for table in described["tables"]:
                if table["name"] in there and (what := _wrong(connection, table)):
                    found[table["name"]] = what
        return found

    def _seen(self, there: list[str]) -> list[str]:
        """The tables that have existed at any time since these views were first created."""
        path = self._folder / "seen.json"
        seen: list[str] = json.loads(path.read_bytes()) if path.is_file() else []
        if more := sorted(set(there) - set(seen)):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps([*seen, *more]))
            unfinished.replace(path)
        return [*seen, *more]


def _wrong(connection: duckdb.DuckDBPyConnection, table: dict[str, Any]) -> str | None:
    """What is wrong with an existing table, or None."""
    try:
        folder = table["folder"].replace("'", "''")
        columns = connection.execute(f"SELECT * FROM delta_scan('{folder}') LIMIT 0").description or ()  # noqa: S608
    except duckdb.Error as error:
        return f"The table {table['name']} can't be read: {str(error).splitlines()[0]}."
    has = {column[0] for column in columns}
    if missing := [name for name in table["columns"] if name not in has]:
        return f"The table {table['name']} has no column {', '.join(missing)}: run `complaints tables create`."
    return None


def _make(path: Path, described: dict[str, Any], there: frozenset[str], broken: frozenset[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with duckdb.connect(str(unfinished), config={"autoinstall_known_extensions": "false"}) as connection:
        _load_delta(connection)
        for table in described["tables"]:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table['name'].split('.')[0]}")
            if table["name"] not in broken:
                select = table["present"] if table["name"] in there else table["absent"]
                connection.execute(f"CREATE VIEW {table['name']} AS {select}")
        for signature, body in described["macros"].items():
            connection.execute(f"CREATE MACRO {signature} AS {body}")
        for view in described["views"]:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view['name'].split('.')[0]}")
            if not any(name in view["sql"] for name in broken):
                connection.execute(f"CREATE VIEW {view['name']} AS {view['sql']}")
    unfinished.replace(path)


def _opened(path: Path, described: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), read_only=True, config={"autoinstall_known_extensions": "false"})
    if connection.execute("SELECT current_setting('lock_configuration')").fetchone() == (True,):
        return connection  # this file is still in use, and DuckDB opens a file once per process
    _load_delta(connection)
    spill = Path(described["settings"]["temp_directory"])
    spill.mkdir(parents=True, exist_ok=True)
    own = str(spill / f"{path.parts[-3]}-{os.getpid()}")  # two processes must never write the same files
    for name, value in {**described["settings"], "temp_directory": own}.items():
        connection.execute(f"SET GLOBAL {name} = $value", {"value": value})
    return connection


def _load_delta(connection: duckdb.DuckDBPyConnection) -> None:
    brought = next(Path(str(importlib.resources.files("duckdb_extension_delta"))).rglob(EXTENSION))
    connection.execute(f"LOAD '{brought}'")
