"""What a query has still to read of its table: the data files that were appended since its last finished batch.

Reads the query's checkpoint and the table's log, without Spark. A finished batch had written all of its tables, so a
row that none of them has, and that is in no unread file, was lost.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import table_path
from streaming.queries.checkpoints import Progress, progress_of

TRIES = 3  # a batch that ends between two looks into a checkpoint makes it look damaged
PAUSE = 0.2


def progress(settings: Settings, query: str) -> Progress:
    """How far a query has come, asked beside a running stream.

    Raises:
        ComplaintsError: its checkpoint is damaged.
    """
    folder = settings.folder / "checkpoints" / query
    for _ in range(TRIES - 1):
        try:
            return progress_of(folder, query)
        except ComplaintsError:
            time.sleep(PAUSE)
    return progress_of(folder, query)


@dataclass(frozen=True)
class Unread:
    """What a query may not have read of a table.

    Attributes:
        everything: whether that may be any row: it has no finished batch yet, or is still in the table's beginning.
        files: otherwise the data files.
    """

    everything: bool
    files: tuple[Path, ...] = ()


def unread(settings: Settings, table: Table, read: dict[str, Any] | None) -> Unread:
    """What a query has still to read of a table.

    Args:
        settings: the lake's.
        table: the query's source.
        read: where its last finished batch ended (`Progress.read`), known before the table was looked at.
    """
    if read is None or read["isStartingVersion"]:
        return Unread(everything=True)
    folder = table_path(settings, table)
    commits = sorted((folder / "_delta_log").glob("*.json"))
    later = [commit for commit in commits if commit.stem.isdigit() and int(commit.stem) >= read["reservoirVersion"]]
    files = [folder / path for commit in later for path in _appended(commit)]
    return Unread(everything=False, files=tuple(file for file in files if file.is_file()))


def _appended(commit: Path) -> Iterator[str]:
    """The data files that a commit appended; none of one that changes rows, which the queries pass over."""
    actions = [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
    if not any(action.get("remove", {}).get("dataChange") for action in actions):
        yield from (unquote(action["add"]["path"]) for action in actions if action.get("add", {}).get("dataChange"))
