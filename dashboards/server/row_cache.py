"""How long rows that charts were shown stay on the disk: some minutes, whether or not anybody asks for them again.

The cache itself drops an entry that is too old only when that very entry is asked for. Runs in Superset's own Python.
"""

import threading
import time
from pathlib import Path

KEPT_SECONDS = 300
LOOK_SECONDS = 30


def folder(home: Path) -> Path:
    """Where the rows are, below Superset's home."""
    return home / "cache" / "data"


def forget(home: Path, now: float) -> None:
    """Delete what was cached longer ago than it is kept."""
    for file in folder(home).glob("*"):
        try:
            if now - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink()
        except FileNotFoundError:  # another was faster
            continue


def keep_forgetting(home: Path) -> None:
    """Look again and again, beside the server."""

    def look() -> None:
        while True:
            forget(home, time.time())
            time.sleep(LOOK_SECONDS)

    threading.Thread(target=look, name="row-cache", daemon=True).start()
