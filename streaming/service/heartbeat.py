"""Write the stream's status file (`streaming.status`) while it runs, from the thread that watches the queries."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from pyspark.sql.streaming.query import StreamingQuery

from streaming.queries.supervisor import Supervisor
from streaming.service.health import BatchHealth
from streaming.status import FILE, Phase, QueryStatus, StreamStatus, remove_status, write_status

INTERVAL = timedelta(seconds=2)


class Heartbeat:
    """Writes the status file, as a context manager: removed when the stream was stopped, left when it failed.

    A start that is refused leaves no file, unless there was one of a stream that was not stopped.

    Args:
        folder: the lake's folder.
        clock: returns the current time, with its zone.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = folder
        self._clock = clock
        self._batches: dict[str, BatchHealth | None] = {}  # the newest at the last beat

    def __enter__(self) -> Self:
        now = self._clock()
        self._was_lost = (self._folder / FILE).exists()
        self._status = StreamStatus(os.getpid(), "starting", now, now)
        write_status(self._folder, self._status)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_refused = self._status.phase == "starting" and not self._was_lost
        if kind is None or issubclass(kind, KeyboardInterrupt) or is_refused:
            remove_status(self._folder)
        else:
            self.enter("failed")

    def enter(self, phase: Phase) -> None:
        """Report that the stream enters a phase."""
        self._status = replace(self._status, phase=phase, at=self._clock())
        write_status(self._folder, self._status)

    def beat(self, supervisor: Supervisor, latest: Mapping[str, BatchHealth], model: str) -> None:
        """Report the running queries; does nothing within two seconds of the last report.

        Args:
            supervisor: runs the queries.
            latest: the newest batch by query.
            model: name and version of the model that decides.
        """
        now = self._clock()
        if self._status.phase == "running" and now - self._status.at < INTERVAL:
            return
        queries = {
            name: QueryStatus(
                query.isActive, supervisor.restarts[name], self._progress_at(name, query, latest.get(name), now)
            )
            for name, query in supervisor.queries.items()
        }
        self._status = replace(self._status, phase="running", at=now, model=model, queries=queries)
        write_status(self._folder, self._status)

    def _progress_at(self, name: str, query: StreamingQuery, batch: BatchHealth | None, now: datetime) -> datetime:
        before = self._status.queries.get(name)
        moved = batch != self._batches.get(name) or not query.status["isTriggerActive"]
        self._batches[name] = batch
        return now if before is None or moved else before.progress_at
