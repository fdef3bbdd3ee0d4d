"""A stream's status file: which process streams, in which phase, and when each query last made progress.

The stream writes it every few seconds, so one that is frozen or was killed shows by the file's age. A stream that was
asked to stop removes it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from lakehouse.errors import ComplaintsError

FILE = "stream.json"
QUERIES = ("ingest", "refine", "merge", "score", "revise", "summarise")
STALLED = timedelta(minutes=5)  # without progress, far longer than any batch takes
# How old the file may be, by phase: a start loads the model, and a stop finishes the running batches.
FRESH = {
    "starting": timedelta(minutes=10),
    "running": timedelta(seconds=30),
    "stopping": timedelta(minutes=3),
    "failed": timedelta(0),
}
Phase = Literal["starting", "running", "stopping", "failed"]


@dataclass(frozen=True)
class QueryStatus:
    """One query of a stream.

    Attributes:
        is_active: whether Spark runs it; if not, it failed, and waits for its restart.
        restarts: its restarts since the stream started.
        progress_at: when it last completed a batch or waited for data.
    """

    is_active: bool
    restarts: int
    progress_at: datetime


@dataclass(frozen=True)
class StreamStatus:
    """A stream as it last reported.

    Attributes:
        pid: its process.
        phase: starting, running, stopping, or failed.
        at: when it reported.
        started_at: when it started.
        model: name and version of the model that decides; empty before it is loaded.
        queries: its queries by name.
    """

    pid: int
    phase: Phase
    at: datetime
    started_at: datetime
    model: str = ""
    queries: Mapping[str, QueryStatus] = field(default_factory=dict)

    def is_silent(self, now: datetime) -> bool:
        """Whether the stream failed, or has not reported for longer than its phase explains."""
        return now - self.at > FRESH[self.phase]

    def state_of(self, query: str, now: datetime) -> str:
        """Return the state of a query: active, restarting, stalled, or not running."""
        found = self.queries.get(query)
        if found is None or self.is_silent(now):
            return "not running"
        if not found.is_active:
            return "restarting"
        return "stalled" if now - found.progress_at > STALLED else "active"


def write_status(folder: Path, status: StreamStatus) -> None:
    """Write the status file of the lake in a folder, atomically."""
    draft = folder / f"{FILE}.{os.getpid()}.new"
    draft.write_text(json.dumps(asdict(status), default=_as_text), encoding="utf-8")
    draft.replace(folder / FILE)


def _as_text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def remove_status(folder: Path) -> None:
    """Remove the status file of a stream that was stopped."""
    (folder / FILE).unlink(missing_ok=True)


def read_status(folder: Path) -> StreamStatus | None:
    """Return the last status of the lake's stream; None if none ran since the last one was stopped.

    Raises:
        ComplaintsError: the file is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        queries = {
            name: QueryStatus(**{**query, "progress_at": datetime.fromisoformat(query["progress_at"])})
            for name, query in content.pop("queries").items()
        }
        times = {name: datetime.fromisoformat(content.pop(name)) for name in ("at", "started_at")}
        return StreamStatus(**{**content, **times, "queries": queries})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{path} is damaged: delete it; a running stream writes it again."
        raise ComplaintsError(msg) from error
