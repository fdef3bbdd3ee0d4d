"""Limits on how long a query may run, and on how many queries of one account run at the same time.

Superset runs this module in its own Python: it depends on DuckDB, but on nothing from the project.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import duckdb

GRACE_SECONDS = 10.0  # for a query to react to the interrupt
AGAIN_SECONDS = 0.2


class LimitError(duckdb.Error):
    """Raised when a query took too long, or too many are running."""


def too_long(seconds: float) -> str:
    """The message for a query that exceeded its time limit."""
    return f"The query was stopped after {seconds:g} seconds: ask for fewer rows, or a shorter time."


@contextmanager
def stopped_after(
    connection: duckdb.DuckDBPyConnection,
    seconds: float,
    give_up: Callable[[], None] | None = None,
    *,
    limit: float | None = None,
) -> Iterator[None]:
    """Interrupt the query that the block runs on this connection after a time limit, in any thread.

    Args:
        connection: the connection that runs the query.
        seconds: the time limit.
        give_up: called when the query ignores the interrupt: some functions work on one value for hours.
        limit: the limit of the whole query, where `seconds` is what is left of it.

    Raises:
        LimitError: the query exceeded the limit.
    """
    is_done, is_over = threading.Event(), threading.Event()

    def watch() -> None:
        if is_done.wait(seconds):
            return
        is_over.set()
        end = time.monotonic() + GRACE_SECONDS
        while not is_done.wait(AGAIN_SECONDS):
            connection.interrupt()
            if give_up and time.monotonic() > end:
                give_up()

    watcher = threading.Thread(target=watch, name="sql limit", daemon=True)
    watcher.start()
    try:
        yield
    except duckdb.InterruptException as error:
        if not is_over.is_set():
            raise
        raise LimitError(too_long(limit or seconds)) from error
    finally:
        is_done.set()
        watcher.join()  # or it could interrupt the connection's next query


class Turns:
    """Limits the concurrent queries per key, so that one account can't block the others.

    Args:
        running: how many queries of one key may run at the same time.
        waiting: how many more may wait; any beyond that are refused at once.
        seconds: how long a query may wait.
    """

    def __init__(self, running: int, waiting: int, seconds: float) -> None:
        self._max_running, self._max_waiting, self._seconds = running, waiting, seconds
        self._running: Counter[Hashable] = Counter()
        self._waiting: Counter[Hashable] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def one(self, key: Hashable) -> Iterator[None]:
        """Run the block when a slot is free.

        Raises:
            LimitError: too many queries of this key are waiting, or this one waited too long.
        """
        with self._changed:
            is_free = self._running[key] < self._max_running
            if not is_free and (self._waiting[key] >= self._max_waiting or not self._wait(key)):
                msg = f"{self._max_running} queries of this account are running already: try again when they are done."
                raise LimitError(msg)
            self._running[key] += 1
        try:
            yield
        finally:
            with self._changed:
                self._running[key] -= 1
                self._changed.notify_all()

    def _wait(self, key: Hashable) -> bool:
        self._waiting[key] += 1
        try:
            return self._changed.wait_for(lambda: self._running[key] < self._max_running, self._seconds)
        finally:
            self._waiting[key] -= 1
