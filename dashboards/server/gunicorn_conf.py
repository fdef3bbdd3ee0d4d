"""Gunicorn's hooks: each worker opens the lake's views before it is asked, so that the first dashboard doesn't wait."""

import threading
from typing import Any


def post_worker_init(_: Any) -> None:
    """Called in each worker once it can answer."""
    threading.Thread(target=_open_views, daemon=True).start()


def _open_views() -> None:
    from lake_dialect import VIEWS

    connection = VIEWS.connection()
    views = connection.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    for schema, view in views:
        connection.execute(f"SELECT * FROM {schema}.{view} LIMIT 0")  # noqa: S608 - names as declared
