"""Find what a query has not read yet: data files appended since its last finished batch.

Reads the query's checkpoint and the table's log, without Spark. A finished batch has written all of its tables, so a
row that is in none of them and in no unread file was lost.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path


@dataclass(frozen=True)
class Unread:
    """The part of a table that a query may not have read.

    Attributes:
        everything: whether that may be any row: no batch has finished yet, or the initial snapshot is still being read.
        files: otherwise, the unread data files.
    """

    everything: bool
    files: tuple[Path, ...] = ()


def unread(settings: Settings, table: Table, read: dict[str, Any] | None) -> Unread:
    """Return the part of a table that a query has not read yet.

    Args:
        settings: settings of the lake.
        table: the query's source.
        read: end of its last finished batch (`Progress.read`), read before the table's log.
    """
    if read is None or read["isStartingVersion"]:
        return Unread(everything=True)
    folder = table_path(settings, table)
    commits = sorted((folder / "_delta_log").glob("*.json"))
    later = [commit for commit in commits if commit.stem.isdigit() and int(commit.stem) >= read["reservoirVersion"]]
    files = [folder / path for commit in later for path in _appended(commit)]
    return Unread(everything=False, files=tuple(file for file in files if file.is_file()))


def _appended(commit: Path) -> Iterator[str]:
    """Yield the data files that a commit appended; none if it changes rows: queries skip such commits."""
    actions = [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
    if not any(action.get("remove", {}).get("dataChange") for action in actions):
        yield from (unquote(action["add"]["path"]) for action in actions if action.get("add", {}).get("dataChange"))
