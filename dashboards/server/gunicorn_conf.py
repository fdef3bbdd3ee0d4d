"""Gunicorn's hooks: cached rows are forgotten in time, and each worker opens the lake's views before it is asked."""

import os
import threading
from pathlib import Path
from typing import Any


def when_ready(_: Any) -> None:
    """Called in the first process once the server listens."""
    import row_cache

    row_cache.keep_forgetting(Path(os.environ["LAKE_SUPERSET_HOME"]))


def post_worker_init(_: Any) -> None:
    """Called in each worker once it can answer."""
    threading.Thread(target=_open_views, daemon=True).start()


def _open_views() -> None:
    from lake_dialect import VIEWS

    connection = VIEWS.connection()
    views = connection.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    for schema, view in views:
        connection.execute(f"SELECT * FROM {schema}.{view} LIMIT 0")  # noqa: S608 - names as declared
