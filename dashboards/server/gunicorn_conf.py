"""Gunicorn's hooks: each worker can only read the lake and opens its views, and cached rows are deleted in time."""

import os
import threading
from pathlib import Path
from typing import Any

from sandbox import limit_memory, write_only_beneath


def post_fork(server: Any, _: Any) -> None:
    """Called in each worker before anything else: restrict writing to its own folder, and limit its memory."""
    from lake_dialect import VIEWS

    home = Path(os.environ["LAKE_SUPERSET_HOME"])
    is_held = write_only_beneath([home, Path("/dev")])
    is_limited = limit_memory(VIEWS.described()["limits"]["bytes"])
    if not (is_held and is_limited):
        server.log.warning("This system can't keep Superset from writing the lake, or limit its memory.")


def when_ready(_: Any) -> None:
    """Called in the first process once the server listens."""
    import row_cache

    row_cache.keep_forgetting(Path(os.environ["LAKE_SUPERSET_HOME"]))


def post_worker_init(_: Any) -> None:
    """Called in each worker once it can serve requests."""
    threading.Thread(target=_open_views, daemon=True).start()


def _open_views() -> None:
    """Open the views, so that the first dashboard doesn't wait."""
    from lake_dialect import VIEWS

    connection = VIEWS.connection()
    views = connection.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    for schema, view in views:
        connection.execute(f"SELECT * FROM {schema}.{view} LIMIT 0")  # noqa: S608 - names as declared
