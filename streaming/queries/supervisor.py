"""Keeps the queries running: restarts one that fails, with back-off, gives up loudly, and stops between two batches."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.errors import ComplaintsError
from lakehouse.logs import about
from lakehouse.settings_sections import StreamingSettings
from streaming.queries.definitions import Batch

STOP_SECONDS = 60.0
RENEW_SECONDS = 10.0
CALM_SECONDS = 120.0  # a query that ran this long without failing starts with a fresh count of restarts


class StoppingError(Exception):
    """Raised in a batch that begins after the stop was asked for; the batch is run again at the next start."""


class Gate:
    """Lets batches through until it is closed, and knows whether one is under way."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._under_way = 0

    def __call__(self, batch: Batch) -> Batch:
        """The batch function, refused once the gate is closed."""

        def guarded(rows: DataFrame, batch_id: int) -> None:
            with self._lock:
                if self._closed.is_set():
                    raise StoppingError
                self._under_way += 1
            try:
                batch(rows, batch_id)
            finally:
                with self._lock:
                    self._under_way -= 1

        return guarded

    def close(self) -> None:
        """Let no further batch begin."""
        self._closed.set()

    @property
    def is_quiet(self) -> bool:
        """Whether no batch is being written."""
        with self._lock:
            return self._under_way == 0


@dataclass
class _Kept:
    start: Callable[[], StreamingQuery]
    query: StreamingQuery
    restarts: int = 0
    retries: int = 0
    started: float = field(default_factory=time.monotonic)
    due: float | None = None


class Supervisor:
    """Runs named queries until it is told to stop.

    Args:
        settings: retries and back-off.
        gate: the gate that the queries' batches go through.
        notify: called with a sentence when a query fails or starts again.
        on_end: called with a query that was stopped to start anew: what it did last is to be asked now.
    """

    def __init__(
        self,
        settings: StreamingSettings,
        gate: Gate,
        notify: Callable[[str], None],
        on_end: Callable[[str, StreamingQuery], None] = lambda _name, _query: None,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._notify = notify
        self._on_end = on_end
        self._kept: dict[str, _Kept] = {}

    def start(self, starts: Mapping[str, Callable[[], StreamingQuery]]) -> None:
        """Start the queries."""
        for name, start in starts.items():
            self._kept[name] = _Kept(start, start())

    @property
    def queries(self) -> dict[str, StreamingQuery]:
        """The queries by name, as they run now."""
        return {name: kept.query for name, kept in self._kept.items()}

    @property
    def restarts(self) -> dict[str, int]:
        """How often each query was started again."""
        return {name: kept.restarts for name, kept in self._kept.items()}

    def check(self) -> None:
        """Restart what has failed and is due; call it every second or so.

        Raises:
            ComplaintsError: a query failed more often than `streaming.retries` allows.
        """
        for name, kept in self._kept.items():
            with about(query=name):
                self._look_after(name, kept)

    def _look_after(self, name: str, kept: _Kept) -> None:
        if kept.query.isActive:
            if kept.retries and time.monotonic() - kept.started > CALM_SECONDS:
                kept.retries = 0
        elif kept.due is None:
            self._plan_restart(name, kept)
        elif time.monotonic() >= kept.due:
            kept.query, kept.due, kept.started = kept.start(), None, time.monotonic()
            kept.restarts += 1
            self._notify(f"The {name} query runs again.")

    def _plan_restart(self, name: str, kept: _Kept) -> None:
        reason = failure(kept.query)
        if kept.retries >= self._settings.retries:
            msg = f"The {name} query failed {kept.retries + 1} times and was given up: {reason}"
            raise ComplaintsError(msg)
        wait = self._settings.backoff_seconds * 2**kept.retries
        kept.retries += 1
        kept.due = time.monotonic() + wait
        self._notify(f"The {name} query failed and starts again in {wait:.0f} s: {reason}")

    def renew(self, name: str) -> None:
        """Stop one query, between two batches where that is possible, and start it as it is declared now.

        A batch that begins just then is run again by the new query, and written once (see `lakehouse.tables.commits`).
        """
        kept = self._kept[name]
        end = time.monotonic() + RENEW_SECONDS
        while time.monotonic() < end and kept.query.isActive and kept.query.status["isTriggerActive"]:
            time.sleep(0.01)
        kept.query.stop()
        self._on_end(name, kept.query)
        kept.query, kept.due, kept.started = kept.start(), None, time.monotonic()
        self._notify(f"The {name} query runs anew.")

    def stop(self) -> None:
        """Finish the batches in hand, begin no other, and end the queries."""
        self._gate.close()
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end and not (self._gate.is_quiet and self._all_idle()):
            time.sleep(0.05)
        for kept in self._kept.values():
            kept.query.stop()

    def _all_idle(self) -> bool:
        return not any(kept.query.isActive and kept.query.status["isTriggerActive"] for kept in self._kept.values())


# An exception as Python or Java print it: its class, then its text.
_RAISED = re.compile(r"^(?:Caused by: )?((?:[A-Za-z_]+[.$])*[A-Za-z_]*(?:Error|Exception)): (.+)$")
_WRAPPERS = ("Py4JException", "StreamingQueryException", "SparkException")


def failure(query: StreamingQuery) -> str:
    """Why a query ended, in one line: the innermost error that is told, with its class's name."""
    error = query.exception()
    if error is None:
        return "it ended by itself"
    told = [match for line in str(error).splitlines() if (match := _RAISED.match(line.strip()))]
    inner = [match for match in told if not match[1].endswith(_WRAPPERS)] or told
    if not inner:
        return str(error).strip().partition("\n")[0][:500]
    return f"{re.split(r'[.$]', inner[-1][1])[-1]}: {inner[-1][2][:500]}"
