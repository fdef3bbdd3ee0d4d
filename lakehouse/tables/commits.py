"""Marks: every commit of a batch names the query and the batch that made it, as its ``userMetadata``.

A streaming query that is killed runs its last batch again. What is there of that batch is told by the rows themselves,
where these have ids; a mark is for what has none (sums), and tells the version before a batch's own commit. Delta's own
guard (``txnAppId``, ``txnVersion``) rebuilds the table's whole state on each write.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

FIRST_LOOK = 64  # commits asked for at first; most often the mark is in the newest


def mark(writer: str, batch: int | str) -> str:
    """The mark of one batch of one writer (a query's id, or ``load``)."""
    return f"{writer}:{batch}"


def find(lake: Lake, table: Table, wanted: str, *, in_order: bool = False) -> int | None:
    """The version of the table that carries the mark, or None. Reads the commits newest first, as many as it takes.

    Args:
        lake: the lake.
        table: the table.
        wanted: the mark.
        in_order: whether its writer writes its batches in order, so that another of its marks ends the search.
    """
    writer = wanted.rpartition(":")[0]
    for version, found in marks_in_log(lake.path(table)) if lake.settings.is_local else marks_in_history(lake, table):
        if found == wanted:
            return version
        if in_order and found.rpartition(":")[0] == writer:
            return None
    return None


def newest(lake: Lake, table: Table, writer: str) -> int:
    """The newest batch of a writer that a local table's log has a mark of; -1 when it has none."""
    for _, found in marks_in_log(lake.path(table)):
        by, _, batch = found.rpartition(":")
        if by == writer:
            return int(batch)
    return -1


def marks_in_log(table: Path) -> Iterator[tuple[int, str]]:
    """Version and mark of each commit, from the log's own files: asking Spark takes a second each after a start."""
    for commit in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        with commit.open(encoding="utf-8") as actions:
            infos = (json.loads(action).get("commitInfo") for action in actions)
            info = next((info for info in infos if info), None)  # the first line, mostly
        yield int(commit.stem), str(info and info.get("userMetadata"))


def marks_in_history(lake: Lake, table: Table) -> Iterator[tuple[int, str]]:
    """Version and mark of each commit, as Delta tells them."""
    limit, told = FIRST_LOOK, 0
    while True:
        commits = lake.delta(table).history(limit).select("version", "userMetadata")
        rows = commits.collect()  # bounded: a commit a row, of the log that retention keeps
        yield from ((int(row.version), str(row.userMetadata)) for row in rows[told:])
        if len(rows) < limit:
            return
        limit, told = limit * 4, limit


class Guard:
    """Says of one start of a query which tables already hold its first batch.

    Only the first batch of a start can have been written before: Spark runs at most one batch again.
    """

    def __init__(self, lake: Lake, query_id: str) -> None:
        self._lake = lake
        self._query_id = query_id
        self._first: int | None = None

    def mark(self, batch_id: int) -> str:
        """The mark that this batch's commits carry."""
        return mark(self._query_id, batch_id)

    def written(self, table: Table, batch_id: int) -> int | None:
        """The table's version that holds this batch, or None when it is still to be written."""
        if self._first is None:
            self._first = batch_id
        if batch_id != self._first:
            return None
        return find(self._lake, table, self.mark(batch_id), in_order=True)
