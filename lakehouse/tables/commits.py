"""Marks: every commit of a batch stores the query and the batch that wrote it in its ``userMetadata``.

A streaming query that is killed runs its last batch again. Where rows have ids, the ids show what that batch already
wrote. A mark is for rows without ids (sums), and to find the version before a batch's own commit. Delta's own mechanism
(``txnAppId``, ``txnVersion``) rebuilds the table's whole state on each write.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

FIRST_LOOK = 64  # commits in the first request; the mark is usually in the newest


def mark(writer: str, batch: int | str) -> str:
    """Return the mark of one batch of one writer (a query's id, or ``load``)."""
    return f"{writer}:{batch}"


def find(lake: Lake, table: Table, wanted: str, *, in_order: bool = False) -> int | None:
    """Return the version of the table whose commit has the mark, or None; reads commits newest first.

    Args:
        lake: the lake.
        table: the table.
        wanted: the mark.
        in_order: whether the writer commits its batches in order, so that another of its marks ends the search.
    """
    writer = wanted.rpartition(":")[0]
    is_files = lake.settings.platform.tables_are_files
    for version, found in marks_in_log(lake.path(table)) if is_files else marks_in_history(lake, table):
        if found == wanted:
            return version
        if in_order and found.rpartition(":")[0] == writer:
            return None
    return None


def newest(lake: Lake, table: Table, writer: str) -> int:
    """Return the newest batch of a writer that is marked in a local table's log; -1 if there is none."""
    for _, found in marks_in_log(lake.path(table)):
        by, _, batch = found.rpartition(":")
        if by == writer:
            return int(batch)
    return -1


def marks_in_log(table: Path) -> Iterator[tuple[int, str]]:
    """Yield version and mark of each commit from the log's files; Spark takes a second per table at startup."""
    for commit in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        with commit.open(encoding="utf-8") as actions:
            infos = (json.loads(action).get("commitInfo") for action in actions)
            info = next((info for info in infos if info), None)  # usually the first line
        yield int(commit.stem), str(info and info.get("userMetadata"))


def marks_in_history(lake: Lake, table: Table) -> Iterator[tuple[int, str]]:
    """Yield version and mark of each commit from Delta's table history."""
    limit, yielded = FIRST_LOOK, 0
    while True:
        commits = lake.delta(table).history(limit).select("version", "userMetadata")
        rows = commits.collect()  # bounded: one row per commit within the log's retention
        yield from ((int(row.version), str(row.userMetadata)) for row in rows[yielded:])
        if len(rows) < limit:
            return
        limit, yielded = limit * 4, limit


class Guard:
    """Checks, for one start of a query, which tables already have its first batch.

    Only the first batch after a start can have been written before: Spark reruns at most one batch.
    """

    def __init__(self, lake: Lake, query_id: str) -> None:
        self._lake = lake
        self._query_id = query_id
        self._first: int | None = None

    def mark(self, batch_id: int) -> str:
        """The mark of this batch's commits."""
        return mark(self._query_id, batch_id)

    def written(self, table: Table, batch_id: int) -> int | None:
        """Return the table's version that has this batch, or None if it is not written yet."""
        if self._first is None:
            self._first = batch_id
        if batch_id != self._first:
            return None
        return find(self._lake, table, self.mark(batch_id), in_order=True)
