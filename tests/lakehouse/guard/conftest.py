"""A DuckDB database with served and other tables, and the guard that stands before it."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lakehouse.guard.sql_guard import Guard
from lakehouse.sql.query import _delta_extension

SERVED = ("gold.decisions", "serving.minutes")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB without any restriction of its own, so that the guard alone stands between a statement and the machine."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as opened:
        opened.execute(f"LOAD '{_delta_extension()}'")
        for schema in ("gold", "serving", "silver"):
            opened.execute(f"CREATE SCHEMA {schema}")
        opened.execute("CREATE TABLE gold.decisions AS SELECT 1 AS n, 'a' AS s, [1, 2] AS l, DATE '2026-01-02' AS d")
        opened.execute("CREATE VIEW serving.minutes AS SELECT n, s FROM gold.decisions")
        opened.execute("CREATE TABLE silver.quarantine AS SELECT 'hunter2' AS payload")
        yield opened


@pytest.fixture
def guard() -> Guard:
    return Guard(SERVED)


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    """A file that must not appear, and one that must not be read."""
    (tmp_path / "secret.csv").write_text("hunter2\n")
    return {"file": str(tmp_path / "written"), "secret": str(tmp_path / "secret.csv"), "folder": str(tmp_path)}
