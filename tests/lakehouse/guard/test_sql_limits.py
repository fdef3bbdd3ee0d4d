"""A query is stopped at its time limit in any thread, and many bad queries don't block a good one."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from lakehouse.guard import sql_limits
from lakehouse.guard.sql_limits import LimitError, Turns, stopped_after
from lakehouse.settings import load_settings
from lakehouse.sql.query import restrictions

# They take hours and little memory, so that only the time limit stops them.
ENDLESS = [
    "SELECT count(*) FROM range(1000) a, range(1000000000000) b WHERE a.range + b.range = -1",
    "SELECT sum(hash(a.range * b.range)) FROM range(1000) a, range(1000000000000) b",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "SELECT * FROM range(1000) a, range(1000000000000) b ORDER BY hash(a.range + b.range) LIMIT 5",
]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB as Superset's server opens it, with lower limits."""
    settings = load_settings(root=tmp_path)
    settings = settings.model_copy(update={"sql": settings.sql.model_copy(update={"memory": "300m", "spill": "50m"})})
    with duckdb.connect() as opened:
        for name, value in restrictions(settings, [tmp_path / "tables"], tmp_path / "spill").items():
            opened.execute(f"SET GLOBAL {name} = $value", {"value": value})
        yield opened


@pytest.mark.parametrize("statement", ENDLESS)
def test_a_query_that_takes_too_long_is_stopped_in_any_thread(root: duckdb.DuckDBPyConnection, statement: str) -> None:
    connection, found = root.cursor(), list[object]()

    def run() -> None:
        try:
            with stopped_after(connection, 0.3):
                found.append(connection.execute(statement).fetchall())
        except duckdb.Error as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert isinstance(found[0], LimitError), found
    assert str(found[0]) == "The query was stopped after 0.3 seconds: ask for fewer rows, or a shorter time."
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_query_within_the_limit_and_the_next_one_are_not_stopped(root: duckdb.DuckDBPyConnection) -> None:
    for _ in range(20):
        with stopped_after(root, 0.005):
            time.sleep(0.0048)  # ends at its time limit
        assert root.execute("SELECT 1").fetchall() == [(1,)]


def test_an_error_of_the_query_stays_that_error(root: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.CatalogException), stopped_after(root, 5):
        root.execute("SELECT * FROM nothing")


def test_a_query_that_ignores_the_interrupt_is_given_up(
    root: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_limits, "GRACE_SECONDS", 0.1)
    given_up = threading.Event()
    work = "SELECT levenshtein(repeat('a', 20000), repeat('b', 20000))"  # it never checks for an interrupt
    with pytest.raises(LimitError), stopped_after(root, 0.05, given_up.set):
        root.execute(work)
    assert given_up.is_set()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT list(range) FROM range(1000000000)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(10000000)",
        "SELECT sum(s) OVER (ORDER BY r) FROM (SELECT range AS s, uuid() AS r FROM range(30000000))",
    ],
)
def test_memory_and_disk_are_bounded(root: duckdb.DuckDBPyConnection, statement: str) -> None:
    with pytest.raises(duckdb.OutOfMemoryException), stopped_after(root, 60):
        root.execute(statement)
    assert root.execute("SELECT 1").fetchall() == [(1,)]


def test_sixteen_bad_queries_leave_a_good_one_answering(root: duckdb.DuckDBPyConnection) -> None:
    """As on the server: a thread pool, accounts that take turns, and a time limit."""
    turns, ended = Turns(running=3, waiting=8, seconds=1), list[object]()
    began = time.monotonic()

    def bad(number: int) -> None:
        connection = root.cursor()
        try:
            with turns.one("SQL Lab"), stopped_after(connection, 1):
                connection.execute(ENDLESS[number % len(ENDLESS)])
        except duckdb.Error as error:  # out of time, turns or memory
            ended.append(error)

    def good() -> float:
        connection, asked = root.cursor(), time.monotonic()
        with turns.one("charts"), stopped_after(connection, 1):
            connection.execute("SELECT sum(range) FROM range(100000)").fetchall()
        return time.monotonic() - asked

    with ThreadPoolExecutor(32) as pool:
        running = [pool.submit(bad, number) for number in range(16)]
        waits = [pool.submit(good).result(30) for _ in range(5)]
        for each in running:
            each.result(30)
    assert max(waits) < 2
    assert len(ended) == 16
    assert time.monotonic() - began < 15


def test_one_account_takes_turns_and_excess_queries_are_refused_at_once() -> None:
    turns, inside, go = Turns(running=2, waiting=1, seconds=10), threading.Semaphore(0), threading.Event()

    def take() -> str:
        try:
            with turns.one("a"):
                inside.release()
                go.wait(10)
        except LimitError as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(take) for _ in range(2)]
        assert inside.acquire(timeout=5)
        assert inside.acquire(timeout=5)
        third = pool.submit(take)
        while not turns._waiting["a"]:
            time.sleep(0.001)
        refused = pool.submit(take).result(1)
        assert refused == "2 queries of this account are running already: try again when they are done."
        with turns.one("b"):
            pass
        go.set()
        assert [each.result(5) for each in (*first, third)] == ["done"] * 3


def test_a_query_that_waits_too_long_is_refused() -> None:
    turns = Turns(running=1, waiting=1, seconds=0.05)
    with turns.one("a"), pytest.raises(LimitError), turns.one("a"):
        pass
    with turns.one("a"):
        pass
