"""Supervise the queries: restart with backoff, raise after too many retries, stop between batches."""

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
PAUSE_SECONDS = 1.0
CALM_SECONDS = 120.0  # a query that ran this long without failing starts with a fresh count of restarts


class StoppingError(Exception):
    """Raised in a batch that begins after a stop was requested; the next start reruns the batch."""


class Gate:
    """Lets batches run until it is closed, and tracks whether any are running."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._running = 0

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch function wrapped so that it raises once the gate is closed."""

        def guarded(rows: DataFrame, batch_id: int) -> None:
            with self._lock:
                if self._closed.is_set():
                    raise StoppingError
                self._running += 1
            try:
                batch(rows, batch_id)
            finally:
                with self._lock:
                    self._running -= 1

        return guarded

    def close(self) -> None:
        """Block further batches."""
        self._closed.set()

    def pause(self, _: int) -> None:
        """Let a running batch wait for another query's for a moment; end it if the gate was closed.

        Raises:
            StoppingError: the gate is closed; the next start reruns the batch.
        """
        if self._closed.wait(PAUSE_SECONDS):
            raise StoppingError

    @property
    def is_quiet(self) -> bool:
        """Whether no batch is being written."""
        with self._lock:
            return self._running == 0


@dataclass
class _Supervised:
    start: Callable[[], StreamingQuery]
    query: StreamingQuery
    restarts: int = 0
    retries: int = 0
    started: float = field(default_factory=time.monotonic)
    due: float | None = None


class Supervisor:
    """Runs named queries until it is stopped.

    Args:
        settings: retries and backoff.
        gate: the gate that wraps the queries' batches.
        notify: called with a sentence when a query fails or restarts.
        on_end: called with a query that was stopped to be restarted, so that its last progress can be read.
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
        self._supervised: dict[str, _Supervised] = {}

    def start(self, starts: Mapping[str, Callable[[], StreamingQuery]]) -> None:
        """Start the queries."""
        for name, start in starts.items():
            self._supervised[name] = _Supervised(start, start())

    @property
    def queries(self) -> dict[str, StreamingQuery]:
        """The current queries by name."""
        return {name: entry.query for name, entry in self._supervised.items()}

    @property
    def restarts(self) -> dict[str, int]:
        """Restarts per query."""
        return {name: entry.restarts for name, entry in self._supervised.items()}

    def check(self) -> None:
        """Restart failed queries whose backoff is over; call it about once per second.

        Raises:
            ComplaintsError: a query failed more often than `streaming.retries` allows.
        """
        for name, entry in self._supervised.items():
            with about(query=name):
                self._check_query(name, entry)

    def _check_query(self, name: str, entry: _Supervised) -> None:
        if entry.query.isActive:
            if entry.retries and time.monotonic() - entry.started > CALM_SECONDS:
                entry.retries = 0
        elif entry.due is None:
            self._plan_restart(name, entry)
        elif time.monotonic() >= entry.due:
            entry.query, entry.due, entry.started = entry.start(), None, time.monotonic()
            entry.restarts += 1
            self._notify(f"The {name} query is running again.")

    def _plan_restart(self, name: str, entry: _Supervised) -> None:
        reason = failure(entry.query)
        if entry.retries >= self._settings.retries:
            msg = f"The {name} query failed {entry.retries + 1} times and was given up: {reason}"
            raise ComplaintsError(msg)
        wait = self._settings.backoff_seconds * 2**entry.retries
        entry.retries += 1
        entry.due = time.monotonic() + wait
        self._notify(f"The {name} query failed and will restart in {wait:.0f} s: {reason}")

    def renew(self, name: str) -> None:
        """Stop one query, between two batches if possible, and start it with its current definition.

        A batch that begins at that moment is rerun by the new query and written once (see `lakehouse.tables.commits`).
        """
        entry = self._supervised[name]
        end = time.monotonic() + RENEW_SECONDS
        while time.monotonic() < end and entry.query.isActive and entry.query.status["isTriggerActive"]:
            time.sleep(0.01)
        entry.query.stop()
        self._on_end(name, entry.query)
        entry.query, entry.due, entry.started = entry.start(), None, time.monotonic()
        self._notify(f"The {name} query was restarted.")

    def stop(self) -> None:
        """Finish the running batches, begin no others, and stop the queries."""
        self._gate.close()
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end and not (self._gate.is_quiet and self._all_idle()):
            time.sleep(0.05)
        for entry in self._supervised.values():
            entry.query.stop()

    def _all_idle(self) -> bool:
        queries = self.queries.values()
        return not any(query.isActive and query.status["isTriggerActive"] for query in queries)


# An exception as Python or Java prints it: class, then message.
_RAISED = re.compile(r"^(?:Caused by: )?((?:[A-Za-z_]+[.$])*[A-Za-z_]*(?:Error|Exception)): (.+)$")
_WRAPPERS = ("Py4JException", "StreamingQueryException", "SparkException")
# Kafka's client in Spark was rejected, got no token, or can't read its certificates.
_REJECTED = re.compile(r"S(?:as|s)lAuthenticationException|Failed to (?:create new KafkaAdminClient|construct kafka)")
_HINT = "; check the security settings of kafka: `complaints setup` connects with them"


def failure(query: StreamingQuery) -> str:
    """Return in one line why a query ended: the innermost error with its class name, and a hint where Kafka rejects."""
    error = query.exception()
    if error is None:
        return "it stopped without an error"
    text = str(error)
    return _innermost(text) + (_HINT if _REJECTED.search(text) else "")


def _innermost(text: str) -> str:
    errors = [match for line in text.splitlines() if (match := _RAISED.match(line.strip()))]
    inner = [match for match in errors if not match[1].endswith(_WRAPPERS)] or errors
    if not inner:
        return text.strip().partition("\n")[0][:500]
    return f"{re.split(r'[.$]', inner[-1][1])[-1]}: {inner[-1][2][:500]}"
