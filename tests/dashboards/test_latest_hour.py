"""The real-time views mark the latest hour that has data, however old it is, and say which hour that is."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from dashboards.views import MACROS, served, views
from dashboards.views import _empty as empty
from streaming.tables import TABLES

LATEST = datetime(2026, 1, 2, 3, 1, tzinfo=UTC)  # long before any test runs
TIMES = {
    "older": LATEST - timedelta(minutes=61),
    "within the hour": LATEST - timedelta(minutes=59),
    "latest": LATEST,
}
FUTURE = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """The views over empty tables with the columns of the lake's."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for schema in ("silver", "gold", "serving"):
            connection.execute(f"CREATE SCHEMA {schema}")
        for table in served(TABLES):
            connection.execute(f"CREATE TABLE {table.name} AS {empty(table)}")
            for own in table.views:
                connection.execute(f"CREATE VIEW {own.name} AS {own.sql.format(table=table.name)}")
        for signature, body in MACROS.items():
            connection.execute(f"CREATE MACRO {signature} AS {body}")
        for view in views():
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
        yield connection


def insert(tables: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, object]) -> None:
    """Add a row with these values; the other columns are null."""
    places = ", ".join(f"${name}" for name in row)
    tables.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", row)  # noqa: S608


def latest(tables: duckdb.DuckDBPyConnection, column: str, view: str) -> set[object]:
    """The values of a column in the rows of the latest hour."""
    return {value for (value,) in tables.execute(f"SELECT {column} FROM {view} WHERE in_latest_hour").fetchall()}  # noqa: S608


@pytest.mark.parametrize(
    ("view", "table", "time", "name", "shown"),
    [
        ("serving.decisions", "gold.decisions", "scored_at", "team", "team"),
        ("serving.batches", "gold.stream_health", "started_at", "query", "query"),
        ("serving.minutes", "gold.complaints_by_minute", "minute", "product_family", "product"),
    ],
)
def test_a_row_is_in_the_latest_hour_when_it_is_less_than_an_hour_older_than_the_latest(
    tables: duckdb.DuckDBPyConnection, view: str, table: str, time: str, name: str, shown: str
) -> None:
    for what, at in TIMES.items():
        insert(tables, table, {time: at, name: what})
    assert latest(tables, shown, view) == {"within the hour", "latest"}


def test_a_minute_in_the_future_neither_counts_nor_hides_the_latest_hour(tables: duckdb.DuckDBPyConnection) -> None:
    """A producer whose clock is a day ahead stamps messages of tomorrow."""
    for at in (*TIMES.values(), FUTURE):
        insert(tables, "gold.complaints_by_minute", {"minute": at, "complaints": 1, "scored_batch": 1})
    within = {TIMES["within the hour"], LATEST}
    assert latest(tables, "minute", "serving.minutes") == within
    assert latest(tables, "minute", "serving.intake") == within


@pytest.mark.parametrize("view", ["serving.minutes", "serving.intake"])
def test_the_minute_that_is_not_over_is_told_from_the_others_unless_it_is_the_first(
    tables: duckdb.DuckDBPyConnection, view: str
) -> None:
    """Only a part of it is decided: as the latest number it would be a fall, or a share of 100 %."""
    this = datetime.now(UTC).replace(second=0, microsecond=0)
    before, after = this - timedelta(minutes=1), this + timedelta(minutes=1)
    over = f"SELECT minute FROM {view} WHERE in_latest_hour AND is_over"  # noqa: S608
    insert(tables, "gold.complaints_by_minute", {"minute": this, "complaints": 1, "scored_batch": 1})
    assert tables.execute(over).fetchall() == [(this,)]
    insert(tables, "gold.complaints_by_minute", {"minute": before, "complaints": 1, "scored_batch": 1})
    assert tables.execute(over).fetchall() == [(before,)] or datetime.now(UTC) >= after


def test_decisions_that_are_not_summarised_yet_move_the_latest_hour(tables: duckdb.DuckDBPyConnection) -> None:
    insert(tables, "gold.complaints_by_minute", {"minute": TIMES["older"], "complaints": 1, "scored_batch": 1})
    insert(tables, "gold.decisions", {"kafka_timestamp": LATEST, "scored_at": LATEST, "batch_id": 2})
    assert latest(tables, "minute", "serving.minutes") == {LATEST}
    assert latest(tables, "minute", "serving.intake") == {LATEST}


@pytest.mark.parametrize(
    ("age", "shown", "stream"),
    [
        (None, "no data yet", "No stream is running: start one with `complaints live`"),
        (timedelta(hours=1), "the hour up to {:%Y-%m-%d %H:%M} UTC", "If no stream is running, start one with"),
        (timedelta(0), "the hour up to {:%Y-%m-%d %H:%M} UTC", "Decisions arrive"),
    ],
    ids=["no decision", "an hour ago", "now"],
)
def test_the_boards_say_which_hour_they_show_and_how_to_start_a_stream(
    tables: duckdb.DuckDBPyConnection, age: timedelta | None, shown: str, stream: str
) -> None:
    at = datetime.now(UTC) - (age or timedelta(0))
    if age is not None:
        insert(tables, "gold.decisions", {"scored_at": at})
    ((found, said),) = tables.execute("SELECT shown, stream FROM serving.latest").fetchall()
    assert found == shown.format(at)
    assert stream in said
