"""SQLAlchemy's `duckdb+lake`: duckdb-engine over the views of the lake, looking at each statement before it runs.

Runs in Superset's own Python.
"""

import os
from pathlib import Path
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper, CursorWrapper, Dialect
from lake_views import RefusedError, Views, check

VIEWS = Views(Path(os.environ["LAKE_SUPERSET_HOME"]))
AROUND_THE_CHECK = frozenset(
    {"execute", "executemany", "sql", "query", "from_query", "read_csv", "read_parquet", "read_json"}
)
# What DuckDB raises when a view, or a table or column below it, is not there.
UNREADABLE = (duckdb.BinderException, duckdb.CatalogException, duckdb.IOException)


class LakeCursor(CursorWrapper):
    """A cursor that looks at each statement before it runs it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, wrapper: ConnectionWrapper) -> None:
        super().__init__(connection, wrapper)
        self._connection = connection

    def execute(self, statement: str, parameters: Any = None, context: Any = None) -> None:
        """Run one SELECT; commits, which some libraries send as text, are let through."""
        if statement.lower() != "commit":
            check(self._connection, statement)
        try:
            super().execute(statement, parameters, context)
        except UNREADABLE as error:
            if said := VIEWS.why(statement):
                raise RefusedError(said) from error
            raise

    def executemany(self, statement: str, parameters: Any = None, context: Any = None) -> None:  # noqa: ARG002
        """Refuse: only writes come in many."""
        msg = f"Only one SELECT can be run: the lake is read-only here. ({statement[:60]})"
        raise RefusedError(msg)


class LakeConnection(ConnectionWrapper):
    """A connection whose cursors look at each statement."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self._connection = connection

    def cursor(self) -> LakeCursor:
        """A cursor."""
        return LakeCursor(self._connection, self)

    def __getattr__(self, name: str) -> Any:
        if name in AROUND_THE_CHECK:
            raise AttributeError(name)
        return super().__getattr__(name)


class LakeDialect(Dialect):
    """SQLAlchemy's `duckdb+lake:///lakehouse`: where the views are is the server's own business, not the address's."""

    driver = "lake"
    supports_statement_cache = False

    def connect(self, *_: Any, **__: Any) -> LakeConnection:
        """A connection to the views."""
        return LakeConnection(VIEWS.connection())

    def get_schema_names(self, connection: Any, **_: Any) -> list[str]:
        """The schemas of the views, without the file's name before them."""
        rows = connection.exec_driver_sql(
            "SELECT DISTINCT schema_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"
        )
        return [name for (name,) in rows]
