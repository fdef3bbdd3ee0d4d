"""Keeps a lake from growing in files: compacts small data files, and drops what nobody reads any more.

A stream appends a file and a commit a batch, and each batch lists the log: left alone it would slow down by the hour.
Here a running stream does this, and `complaints tables maintain`, which is a job on Databricks.
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lakehouse.spark.internals import checkpoint_table, is_tested
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

SMALL_BYTES = 4 * 1024 * 1024  # files below are put together; larger ones are left alone, so that cost is of new rows
TARGET_BYTES = 64 * 1024 * 1024
LEAST_FILES = 20  # below so many small files a compaction isn't worth its commit
DEAD_FILES = 200  # below so many old ones that no version needs, listing the table's folder isn't worth it
RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
LONG_LOG = 40  # commits since the log's last checkpoint, from which on writing another is worth it
LEAST_HOURS = 1  # for which a file outlives its removal, even where the clock was set back
CLOCK_HOURS = 0.1  # by which Delta's time of a commit and the file system's may differ


@dataclass(frozen=True)
class Maintained:
    """What was done to one table.

    Attributes:
        table: its name.
        files_before: data files that its current version had, small and large.
        files_after: the same afterwards.
        commits_dropped: files of its log that are gone.
        files_deleted: data files that no version needed any more.
    """

    table: str
    files_before: int
    files_after: int
    commits_dropped: int
    files_deleted: int


def maintain(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    """Compact a table and rid it of what no reader needs.

    Args:
        lake: locally, the log is shortened as well; on Databricks that is Delta's own to do.
        table: what is maintained.
        is_compacted: for a table that is only appended to. A MERGE puts its table's files together itself, and a
            compaction at the same time would make it fail.
    """
    maintained = _maintained if lake.settings.is_local else _optimised
    return maintained(lake, table, is_compacted=is_compacted)


def checkpoint_log(lake: Lake, tables: Iterable[Table]) -> Table | None:
    """Write what the longest log of these tables says into one file, when it is long; gives the table.

    For a local lake, while it is written: Delta itself would do it in every so many commits, and hold that batch up for
    a second or two. One at a time: each takes the batches beside it some of their processors.
    """
    lengths = {table: _commits_since_checkpoint(lake.path(table) / "_delta_log") for table in tables}
    longest = max(lengths, key=lambda table: lengths[table])
    if lengths[longest] < LONG_LOG or not is_tested(lake.spark):  # else Delta does it, every so many commits
        return None
    checkpoint_table(lake.spark, lake.path(longest))
    return longest


def _commits_since_checkpoint(log: Path) -> int:
    newest = max((path.stem for path in log.glob("*.json") if path.stem.isdigit()), default="0")
    return int(newest) - _last_checkpoint(log)


def _last_checkpoint(log: Path) -> int:
    """The version of a log's last checkpoint, 0 without one; asked of one file, since a log may have many."""
    try:
        return int(json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return 0


def _checkpoints(log: Path) -> dict[int, Path]:
    """The checkpoints of a table's log, by version."""
    return {int(path.name.split(".")[0]): path for path in log.glob("*.checkpoint.parquet")}


def _optimised(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    """By OPTIMIZE, which also clusters what is new, and VACUUM, which keeps what the table's retention says."""
    before = _file_count(lake, table)
    if is_compacted:
        lake.delta(table).optimize().executeCompaction()
    lake.delta(table).vacuum()
    return Maintained(table.name, before, _file_count(lake, table), commits_dropped=0, files_deleted=0)


def _file_count(lake: Lake, table: Table) -> int:
    (row,) = lake.delta(table).detail().select("numFiles").collect()
    return int(row[0])


def _maintained(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    before = after = _sizes(lake, table)
    if is_compacted and sum(size < SMALL_BYTES for size in before) >= LEAST_FILES:
        _compact(lake, table)
        after = _sizes(lake, table)
    checkpoint_log(lake, [table])
    (table_id,) = lake.delta(table).detail().select("id").first() or ("",)
    dropped = _shorten(lake, table, str(table_id))
    return Maintained(table.name, len(before), len(after), dropped, _delete_dead(lake, table, len(after)))


def _sizes(lake: Lake, table: Table) -> list[int]:
    """Bytes of each data file of the table's current version."""
    return [Path(unquote(urlsplit(uri).path)).stat().st_size for uri in lake.read(table).inputFiles()]


def _compact(lake: Lake, table: Table) -> None:
    conf = {
        "spark.databricks.delta.optimize.minFileSize": SMALL_BYTES,
        "spark.databricks.delta.optimize.maxFileSize": TARGET_BYTES,
    }
    for name, value in conf.items():
        lake.spark.conf.set(name, str(value))
    lake.delta(table).optimize().executeCompaction()


def _shorten(lake: Lake, table: Table, table_id: str) -> int:
    """Drop the commits that no query has to read and that are older than `lake.log_retention`; gives how many.

    Delta's own cleanup cuts at midnight only and checks no query, so it is off locally (`lakehouse.tables.lake`). As
    there, each version that is kept stays readable: only commits before the checkpoint that it starts from go.
    """
    folder, queries = lake.path(table) / "_delta_log", lake.settings.folder / "checkpoints"
    commits = {int(path.stem): path for path in folder.glob("*.json")}
    new_since = min([(datetime.now(UTC) - _kept(lake)).timestamp(), *_unfinished_since(queries)])
    kept = [version for version, path in commits.items() if path.stat().st_mtime >= new_since]
    # A batch that is run again compares with the version before its own commit.
    needed = min([min(kept, default=max(commits) + 1) - 1, *_readers(queries, table_id)])
    checkpoints = _checkpoints(folder)
    first = max((version for version in checkpoints if version <= needed), default=0)
    gone = [version for version in sorted(commits) if version < first]
    for version in gone:  # the oldest first: what is left is whole, wherever this is interrupted
        commits[version].unlink()
    for version in sorted(checkpoints):
        if version < first:
            checkpoints[version].unlink()
    return len(gone)


def _delete_dead(lake: Lake, table: Table, alive: int) -> int:
    """Delete the data files that no version needs which the log still has; gives how many."""
    folder = lake.path(table)
    now = datetime.now(UTC).timestamp()
    oldest = min(commit.stat().st_mtime for commit in (folder / "_delta_log").glob("*.json"))
    # Whole ones: Delta rounds to the nearest, and would take the first half hour for none.
    hours = max(LEAST_HOURS, math.ceil((now - oldest) / 3600 + CLOCK_HOURS))
    written = [path.stat().st_mtime for path in folder.glob("*.parquet")]
    if sum(at < now - 3600 * hours for at in written) - alive < DEAD_FILES:
        return 0
    with any_retention(lake):
        lake.delta(table).vacuum(hours)
    return len(written) - sum(1 for _ in folder.glob("*.parquet"))


@contextmanager
def any_retention(lake: Lake) -> Iterator[None]:
    """Let VACUUM keep less than a week: where it is known who still reads what, as in a lake of one writer."""
    lake.spark.conf.set(RETENTION_CHECK, "false")
    try:
        yield
    finally:
        lake.spark.conf.unset(RETENTION_CHECK)


def _kept(lake: Lake) -> timedelta:
    _, number, unit = lake.settings.lake.log_retention.split()
    return timedelta(**{unit: int(number)})


def _batches(folder: Path) -> list[int]:
    """The numbers of the batches in a query's log of offsets or of commits, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def _unfinished_since(queries: Path) -> list[float]:
    """When the batches began that will be run again at the next start, and may have written some of their tables."""
    newest = [offsets / str(batches[-1]) for offsets in queries.glob("*/offsets") if (batches := _batches(offsets))]
    return [batch.stat().st_mtime for batch in newest if not (batch.parent.parent / "commits" / batch.name).exists()]


def _readers(queries: Path, table_id: str) -> list[int]:
    """The versions of the table from which the queries read on: a batch that is run again starts at the end before."""
    found = []
    for offsets in queries.glob("*/offsets"):
        for batch in _batches(offsets)[-2:]:
            lines = (offsets / str(batch)).read_text(encoding="utf-8").splitlines()
            read = [json.loads(line) for line in lines[2:] if line.startswith("{")]  # after version and common part
            found += [int(offset["reservoirVersion"]) for offset in read if offset.get("reservoirId") == table_id]
    return found
