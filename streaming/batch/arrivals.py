"""The landing folder: lands what arrives there, and tries again what could not be landed.

Reads files of the landing folder; writes bronze.complaints, bronze.files and bronze.arrivals. Spark's file source hands
out each path once, whatever becomes of it. So bronze.arrivals notes in which state each file was found and what came of
it: a file that could not be landed is tried again for as long as it is there, and one that was landed when it changed.
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

QUIET_SECONDS = 3.0  # without a change, after which a file that is new counts as written whole
UNFINISHED = "It was still being written."


@dataclass(frozen=True)
class _Note:
    """In which state a file was found, and why it was not landed; None when it was."""

    state: FileState
    problem: str | None


class Arrivals:
    """What came of the files that arrived.

    Args:
        lake: the lake, whose writer this process is.
        land: lands one file, and raises `ComplaintsError` when that can't be done.

    Attributes:
        landed: what landing each file gave.
        errors: a sentence for each file that could not be landed.
        waiting: the files that are still being written, which the next load takes.
    """

    def __init__(self, lake: Lake, land: Callable[[Path], LandedFile]) -> None:
        self._lake = lake
        self._land = land
        self.landed: list[LandedFile] = []
        self.errors: list[str] = []
        self.waiting: list[Path] = []

    def due(self) -> list[Path]:
        """The files noted earlier that are there and were not landed, or are others by now."""
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
        """Land these files, but those that are still being written, and note what came of each."""
        states = {path: state for path in sorted(paths) if (state := state_of(path)) is not None}
        growing = _growing(states)
        notes = {path: _Note(state, self._tried(path, path in growing)) for path, state in states.items()}
        if notes:
            self._write(notes)

    def _tried(self, path: Path, is_growing: bool) -> str | None:  # noqa: FBT001
        """Land a file; gives why it was not landed."""
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
    """Those of the files that change; new ones are watched for a while, all at once."""
    now = time.time()
    new = [path for path, state in states.items() if abs(now - state.changed_us / 1e6) < QUIET_SECONDS]
    if not new:
        return ()
    time.sleep(QUIET_SECONDS)
    return [path for path in new if state_of(path) != states[path]]
