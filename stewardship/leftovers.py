"""Remove files that may contain complaint text but are not part of the lake: leftovers and caches.

Removes files below the root. The caller holds the writer lock and has not started Spark yet.
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

CACHED_ROWS = "superset/cache/data"  # cached rows of charts; queried again if missing


def sweep(settings: Settings, words: Sequence[str]) -> None:
    """Remove scratch files, scratch lakes, cached rows, input examples, and logs that contain the words.

    Staged files of a killed load are already removed by `lakehouse.tables.lake.writer_lock`.

    Args:
        settings: settings of the lake.
        words: logs that contain one of these are removed.
    """
    root = settings.folder
    for path in (root / "scratch").glob("*"):
        shutil.rmtree(path, ignore_errors=True)
    for lock in root.glob(".*.lock"):
        if not lock.name.endswith(".java.lock"):
            _remove_scratch_lake(root / lock.name.removeprefix(".").removesuffix(".lock"), lock)
    for file in files_below(root / CACHED_ROWS):
        file.unlink(missing_ok=True)
    for example in (root / "mlflow").rglob("input_example.json"):
        if example.read_bytes() != json.dumps([EXAMPLE]).encode():  # earlier versions stored real rows
            example.unlink()
    text = "|".join(map(re.escape, words))
    for log in files_below(root / "logs"):
        if text and _may_hold(log, text):
            log.unlink()


def _remove_scratch_lake(folder: Path, lock: Path) -> None:
    """Remove a scratch lake's folder, unless it is in use; then its own process removes it."""
    with suppress(BusyError), WriterLock(lock, "", patience=0):
        shutil.rmtree(folder, ignore_errors=True)


def _may_hold(log: Path, text: str) -> bool:
    try:
        return holds(log, text)
    except UnreadableError:
        return True
