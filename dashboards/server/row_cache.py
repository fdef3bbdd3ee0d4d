"""Deletes cached rows of charts from the disk after some minutes, whether or not they are requested again.

The cache itself drops an expired entry only when that entry is requested. Runs in Superset's own Python.
"""

import threading
import time
from pathlib import Path

KEPT_SECONDS = 300
LOOK_SECONDS = 30


def folder(home: Path) -> Path:
    """The folder of cached rows, below Superset's home."""
    return home / "cache" / "data"


def forget(home: Path, now: float) -> None:
    """Delete entries older than `KEPT_SECONDS`."""
    for file in folder(home).glob("*"):
        try:
            if now - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink()
        except FileNotFoundError:  # another process was faster
            continue


def keep_forgetting(home: Path) -> None:
    """Delete expired entries every `LOOK_SECONDS`, in a thread of the server."""

    def look() -> None:
        while True:
            forget(home, time.time())
            time.sleep(LOOK_SECONDS)

    threading.Thread(target=look, name="row-cache", daemon=True).start()
