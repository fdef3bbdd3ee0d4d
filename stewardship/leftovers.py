"""What may hold words of complaints and is no part of the lake: left by killed processes, or kept for speed alone.

Removes files below the root. For who holds the writer lock and has not started Spark yet.
"""

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lakehouse.file_search import UnreadableError, files_below, holds
from lakehouse.settings import Settings
from lakehouse.tables.writer_lock import BusyError, WriterLock
from ml.features.pipeline import EXAMPLE

CACHED_ROWS = "superset/cache/data"  # rows that charts were shown; queried again when missing


def sweep(settings: Settings, words: Sequence[str]) -> None:
    """Remove all of it: Spark's scratch files, scratch lakes, cached rows, examples of rows, logs that hold the words.

    The staged files of a killed load are gone already: `lakehouse.tables.lake.writer_lock` removes them.

    Args:
        settings: where.
        words: what a log must not hold, or it goes.
    """
    root = settings.folder
    for left in (root / "scratch").glob("*"):
        shutil.rmtree(left, ignore_errors=True)
    for lock in root.glob(".*.lock"):
        if not lock.name.endswith(".java.lock"):
            _remove_scratch_lake(root / lock.name.removeprefix(".").removesuffix(".lock"), lock)
    for file in files_below(root / CACHED_ROWS):
        file.unlink(missing_ok=True)
    for example in (root / "mlflow").rglob("input_example.json"):
        if example.read_bytes() != json.dumps([EXAMPLE]).encode():  # of real rows, as earlier versions kept them
            example.unlink()
    spoken = "|".join(map(re.escape, words))
    for log in files_below(root / "logs"):
        if spoken and _may_hold(log, spoken):
            log.unlink()


def _remove_scratch_lake(folder: Path, lock: Path) -> None:
    """Remove the folder of `streaming.service.scratch_lake`, unless it is in use: then its own process removes it."""
    with suppress(BusyError), WriterLock(lock, "", patience=0):
        shutil.rmtree(folder, ignore_errors=True)


def _may_hold(log: Path, spoken: str) -> bool:
    try:
        return holds(log, spoken)
    except UnreadableError:
        return True
