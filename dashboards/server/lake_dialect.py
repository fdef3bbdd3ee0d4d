"""SQLAlchemy's `duckdb+lake`: the views of the lake through DuckDB, each statement guarded and limited.

Runs in Superset's own Python. A cursor and a connection have only the methods that SQLAlchemy and Superset call, and no
access to DuckDB's own. Schemas, tables and columns are listed from `views.json`, so that no statement ever needs
DuckDB's catalog.
"""

import logging
import os
import signal
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from duckdb_engine import Dialect
from flask import g, has_request_context, request
from lake_views import Views
from sql_guard import Guard, RefusedError
from sql_limits import Turns, stopped_after
from sqlalchemy.types import Float, String

HOME = Path(os.environ["LAKE_SUPERSET_HOME"])
VIEWS = Views(HOME)
SQL_LAB = Views(HOME, "sql_lab")  # its memory is separate from that of the charts
# What DuckDB raises when a view, or a table or column below it, is missing.
UNREADABLE = (duckdb.BinderException, duckdb.CatalogException, duckdb.IOException)
# What it raises when a query has broken it: from then on every query fails.
UNUSABLE = (duckdb.InternalException, duckdb.FatalException)
turns = cache(Turns)  # of this process


class LakeCursor:
    """A cursor that runs guarded SELECTs, under the limits of `views.json`."""

    arraysize = 1
    rowcount = -1

    def __init__(self, connection: "LakeConnection", views: Views, opened: duckdb.DuckDBPyConnection) -> None:
        described = views.described()
        self.connection = connection
        self._views, self._opened = views, opened
        self._guard = Guard(described["served"], described["macros"])
        self._limits = described["limits"]
        self.description: Any = None  # Superset changes it

    def execute(self, statement: str, parameters: Any = None, _: Any = None) -> None:
        """Run one SELECT, when it is this account's turn.

        Raises:
            RefusedError: the guard rejects it, or a table that it reads is gone from the lake.
            LimitError: it took too long, or the account runs too many queries.
        """
        seconds = self._limits["seconds"]
        with turns(self._limits["running"], self._limits["waiting"], seconds).one(asker()):
            checked = self._guard.checked(self._opened, statement)
            with stopped_after(self._opened, seconds, lambda: end_process(signal.SIGKILL)):
                self._run(checked, statement, parameters)

    def _run(self, checked: duckdb.Statement, statement: str, parameters: Any) -> None:
        try:
            self._opened.execute(checked, parameters or [])
            self.description = self._opened.description
        except UNUSABLE:
            end_process(signal.SIGTERM)
            raise
        except UNREADABLE as error:
            if said := self._views.why(statement):
                raise RefusedError(said) from error
            raise

    def executemany(self, statement: str, *_: Any) -> None:
        """Refuse: only writes use executemany."""
        msg = f"Only one SELECT can be run: the lake is read-only here. ({statement[:60]})"
        raise RefusedError(msg)

    def fetchone(self) -> Any:
        """The next row."""
        return self._opened.fetchone()

    def fetchmany(self, size: int = 1) -> Any:
        """The next rows."""
        return self._opened.fetchmany(size)

    def fetchall(self) -> Any:
        """All remaining rows."""
        return self._opened.fetchall()

    def close(self) -> None:
        """Do nothing: the connection is closed instead."""


class LakeConnection:
    """A connection to the views."""

    closed = False
    autocommit = None

    def __init__(self, views: Views) -> None:
        self.notices: list[str] = []
        self._views, self._opened = views, views.connection()

    def cursor(self) -> LakeCursor:
        """A cursor; all cursors of one connection share a result."""
        return LakeCursor(self, self._views, self._opened)

    def begin(self) -> None:
        """Begin a transaction: all its reads see the same state."""
        self._opened.begin()

    def commit(self) -> None:
        """End a transaction."""
        self._opened.commit()

    def rollback(self) -> None:
        """End a transaction."""
        self._opened.rollback()

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()
        self.closed = True


class LakeDialect(Dialect):
    """SQLAlchemy's `duckdb+lake:///lakehouse`: the server knows the location of the views, the URL does not."""

    driver = "lake"
    supports_statement_cache = False

    def connect(self, *_: Any, **__: Any) -> LakeConnection:
        """A connection to the views."""
        return LakeConnection(SQL_LAB if is_sql_lab() else VIEWS)

    def _get_default_schema_name(self, _: Any) -> str:
        return "main"

    def get_schema_names(self, _: Any, **__: Any) -> list[str]:
        """The schemas with something to read."""
        return sorted({name.split(".")[0] for name in VIEWS.described()["served"]})

    def get_table_names(self, *_: Any, **__: Any) -> list[str]:
        """None: everything readable is a view."""
        return []

    def get_view_names(self, _: Any, schema: str | None = None, **__: Any) -> list[str]:
        """The views of a schema."""
        return sorted(name.split(".")[1] for name in VIEWS.described()["served"] if name.split(".")[0] == schema)

    def has_table(self, _: Any, table_name: str, schema: str | None = None, **__: Any) -> bool:
        """Whether a view can be read."""
        return f"{schema}.{table_name}" in VIEWS.described()["served"]

    def get_columns(self, _: Any, table_name: str, schema: str | None = None, **__: Any) -> list[dict[str, Any]]:
        """The columns of a view."""
        columns = VIEWS.columns(f"{schema}.{table_name}") if self.has_table(None, table_name, schema) else []
        known = {**self.ischema_names, "double": Float}
        kinds = ((name, known.get(type_.partition("(")[0].lower(), String)) for name, type_ in columns)
        return [{"name": name, "type": kind(), "nullable": True, "default": None} for name, kind in kinds]

    def _nothing(self, *_: Any, **__: Any) -> list[Any]:
        return []

    get_indexes = get_foreign_keys = get_unique_constraints = get_check_constraints = _nothing

    def get_pk_constraint(self, *_: Any, **__: Any) -> dict[str, Any]:
        """None: a view has no key."""
        return {"constrained_columns": [], "name": None}

    def get_table_comment(self, *_: Any, **__: Any) -> dict[str, Any]:
        """None: comments are in the datasets."""
        return {"text": None}

    def get_view_definition(self, *_: Any, **__: Any) -> None:
        """None: it would reveal the location of the lake."""


def is_sql_lab() -> bool:
    """Whether the request comes from SQL Lab: a runaway query there must not block dashboards."""
    return has_request_context() and request.path.startswith("/api/v1/sqllab/")


def asker() -> Hashable:
    """The account whose query this is, and whether it comes from SQL Lab."""
    user = getattr(g, "user", None) if has_request_context() else None
    return getattr(user, "id", None), is_sql_lab()


def end_process(number: signal.Signals) -> None:
    """End this worker; gunicorn starts another in its place.

    SIGKILL ends it at once, when a query can't be stopped in any other way; SIGTERM after the current response, when
    DuckDB is broken.
    """
    logging.getLogger(__name__).error("A query broke DuckDB or did not heed its time limit: this worker ends itself.")
    os.kill(os.getpid(), number)
