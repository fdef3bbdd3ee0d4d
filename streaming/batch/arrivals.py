"""The landing folder: land files that arrive there, and retry those that could not be landed.

Reads files of the landing folder; writes bronze.complaints, bronze.files and bronze.arrivals. Spark's file source
returns a path only once, even if landing it fails. So bronze.arrivals records each file's state and the result: a file
that could not be landed is retried as long as it exists, and a landed file is landed again when it changes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import functions as F

from bronze.load import FileState, LandedFile, state_of
from bronze.tables import ARRIVALS
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import Lake

QUIET_SECONDS = 3.0  # without a change, after which a new file counts as complete
UNFINISHED = "It was still being written."


@dataclass(frozen=True)
class _Note:
    """The state of a file, and why it was not landed; None if it was."""

    state: FileState
    problem: str | None


class Arrivals:
    """Lands arrived files and records the result of each.

    Args:
        lake: the lake; this process holds its writer lock.
        land: lands one file; raises `ComplaintsError` if that fails.

    Attributes:
        landed: the result per landed file.
        errors: one sentence per file that could not be landed.
        waiting: files that are still being written; the next load takes them.
    """

    def __init__(self, lake: Lake, land: Callable[[Path], LandedFile]) -> None:
        self._lake = lake
        self._land = land
        self.landed: list[LandedFile] = []
        self.errors: list[str] = []
        self.waiting: list[Path] = []

    def due(self) -> list[Path]:
        """Return recorded files that still exist and were not landed, or have changed since."""
        latest = F.max_by(F.struct("bytes", "changed_us", "problem"), "noted_at").alias("latest")
        rows = (
            self._lake.read(ARRIVALS).groupBy("path").agg(latest).select("path", "latest.*").collect()
        )  # one row per file
        notes = {Path(row.path): _Note(FileState(row.bytes, row.changed_us), row.problem) for row in rows}
        found = {path: state_of(path) for path in notes}
        return sorted(
            path
            for path, note in notes.items()
            if found[path] is not None and (note.problem is not None or found[path] != note.state)
        )

    def take(self, paths: Iterable[Path]) -> None:
        """Land these files, except those still being written, and record the result of each."""
        states = {path: state for path in sorted(paths) if (state := state_of(path)) is not None}
        growing = _growing(states)
        notes = {path: _Note(state, self._try_to_land(path, path in growing)) for path, state in states.items()}
        if notes:
            self._write(notes)

    def _try_to_land(self, path: Path, is_growing: bool) -> str | None:  # noqa: FBT001
        """Land a file; return the reason if it was not landed."""
        if is_growing:
            self.waiting.append(path)
            return UNFINISHED
        try:
            self.landed.append(self._land(path))
        except ComplaintsError as error:
            self.errors.append(str(error))
            return str(error)
        return None

    def _write(self, notes: dict[Path, _Note]) -> None:
        now = datetime.now(UTC)
        rows = [
            {
                "path": str(path),
                "bytes": note.state.bytes,
                "changed_us": note.state.changed_us,
                "problem": note.problem,
                "noted_at": now,
            }
            for path, note in notes.items()
        ]
        self._lake.append(self._lake.frame(rows, ARRIVALS), ARRIVALS, mark("arrivals", now.isoformat()))


def _growing(states: dict[Path, FileState]) -> Sequence[Path]:
    """Return the files that are still changing; waits once for all new ones."""
    now = time.time()
    new = [path for path, state in states.items() if abs(now - state.changed_us / 1e6) < QUIET_SECONDS]
    if not new:
        return ()
    time.sleep(QUIET_SECONDS)
    return [path for path in new if state_of(path) != states[path]]
