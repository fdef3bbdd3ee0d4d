"""How long a query may run, and how many that one account asked for may run at the same time.

Superset runs this module in its own Python: it needs DuckDB, and nothing of the project.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import duckdb

GRACE_SECONDS = 10.0  # that a query has to notice that it was interrupted
AGAIN_SECONDS = 0.2


class LimitError(duckdb.Error):
    """Raised when a query took too long, or too many are running."""


@contextmanager
def stopped_after(
    connection: duckdb.DuckDBPyConnection, seconds: float, give_up: Callable[[], None] | None = None
) -> Iterator[None]:
    """Interrupt what the block runs on this connection when it takes longer, whichever thread the block runs in.

    Args:
        connection: what runs the query.
        seconds: how long it may take.
        give_up: called when the query does not heed the interrupt: some functions work on one value for hours.

    Raises:
        LimitError: it took longer.
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
        msg = f"The query was stopped after {seconds:g} seconds: ask for fewer rows, or a shorter time."
        raise LimitError(msg) from error
    finally:
        is_done.set()
        watcher.join()  # or it might interrupt what the connection runs next


class Turns:
    """Lets queries of one key take turns, so that many of them leave room for others.

    Args:
        running: how many of one key run at the same time.
        waiting: how many more of it wait; beyond that they are refused at once.
        seconds: how long one waits.
    """

    def __init__(self, running: int, waiting: int, seconds: float) -> None:
        self._most_running, self._most_waiting, self._seconds = running, waiting, seconds
        self._running: Counter[Hashable] = Counter()
        self._waiting: Counter[Hashable] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def one(self, key: Hashable) -> Iterator[None]:
        """Run the block when it is its turn.

        Raises:
            LimitError: too many of this key wait already, or it waited too long.
        """
        with self._changed:
            is_free = self._running[key] < self._most_running
            if not is_free and (self._waiting[key] >= self._most_waiting or not self._wait(key)):
                msg = f"{self._most_running} queries of this account are running already: try again when they are done."
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
            return self._changed.wait_for(lambda: self._running[key] < self._most_running, self._seconds)
        finally:
            self._waiting[key] -= 1
