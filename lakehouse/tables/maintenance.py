"""Table maintenance: compact small data files, and remove old commits and files that no reader needs.

A stream writes one file and one commit per batch, and each batch lists the log: without maintenance it gets slower by
the hour. Locally a running stream does this, and so does `complaints tables maintain`, which is a job on Databricks.
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

SMALL_BYTES = 4 * 1024 * 1024  # smaller files are compacted; larger ones are not, so the cost depends on new rows only
TARGET_BYTES = 64 * 1024 * 1024
LEAST_FILES = 20  # with fewer small files, a compaction isn't worth its commit
DEAD_FILES = 200  # with fewer unreferenced files, listing the table's folder isn't worth it
RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
LONG_LOG = 40  # commits since the last checkpoint that make another one worthwhile
LEAST_HOURS = 1  # that a removed file stays on disk, even if the clock was set back
CLOCK_HOURS = 0.1  # by which commit times of Delta and of the file system may differ


@dataclass(frozen=True)
class Maintained:
    """The result of maintaining one table.

    Attributes:
        table: the table's name.
        files_before: data files of the current version before.
        files_after: data files of the current version after.
        commits_dropped: commit files deleted from the log.
        files_deleted: deleted data files that no version needed.
    """

    table: str
    files_before: int
    files_after: int
    commits_dropped: int
    files_deleted: int


def maintain(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    """Compact a table and remove what no reader needs.

    Args:
        lake: a local lake's log is shortened as well; on Databricks Delta does that.
        table: the table.
        is_compacted: whether to compact; only for tables that are only appended to. A MERGE would fail if a compaction
            ran at the same time, so whoever merges compacts in between (`compact_small_files`).
    """
    maintained = _maintain_files if lake.settings.platform.tables_are_files else _maintain_by_delta
    return maintained(lake, table, is_compacted=is_compacted)


def checkpoint_log(lake: Lake, tables: Iterable[Table]) -> Table | None:
    """Checkpoint the longest log of these tables if it is long enough; return the table, or None.

    For a local lake while it is written: Delta would do this itself every so many commits, and delay that batch by a
    second or two. Only one log at a time: a checkpoint takes CPU time from the running batches.
    """
    lengths = {table: _commits_since_checkpoint(lake.path(table) / "_delta_log") for table in tables}
    longest = max(lengths, key=lambda table: lengths[table])
    if lengths[longest] < LONG_LOG or not is_tested(lake.spark):  # else Delta does it
        return None
    checkpoint_table(lake.spark, lake.path(longest))
    return longest


def _commits_since_checkpoint(log: Path) -> int:
    newest = max((path.stem for path in log.glob("*.json") if path.stem.isdigit()), default="0")
    return int(newest) - _last_checkpoint(log)


def _last_checkpoint(log: Path) -> int:
    """The version of a log's last checkpoint, 0 without one; read from one file, since a log may have many."""
    try:
        return int(json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return 0


def _checkpoints(log: Path) -> dict[int, Path]:
    """The checkpoints of a table's log, by version."""
    return {int(path.name.split(".")[0]): path for path in log.glob("*.checkpoint.parquet")}


def _maintain_by_delta(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    """Run OPTIMIZE, which also clusters new data, and VACUUM with the table's retention."""
    before = _file_count(lake, table)
    if is_compacted:
        lake.delta(table).optimize().executeCompaction()
    lake.delta(table).vacuum()
    return Maintained(table.name, before, _file_count(lake, table), commits_dropped=0, files_deleted=0)


def _file_count(lake: Lake, table: Table) -> int:
    (row,) = lake.delta(table).detail().select("numFiles").collect()  # bounded: one row
    return int(row[0])


def _maintain_files(lake: Lake, table: Table, *, is_compacted: bool) -> Maintained:
    before = after = _sizes(lake, table)
    if is_compacted and compact_small_files(lake, table, before):
        after = _sizes(lake, table)
    checkpoint_log(lake, [table])
    dropped = _drop_old_commits(lake, table, lake.table_id(table))
    return Maintained(table.name, len(before), len(after), dropped, _delete_unreferenced(lake, table, len(after)))


def _sizes(lake: Lake, table: Table) -> list[int]:
    """Size in bytes of each data file of the table's current version."""
    return [Path(unquote(urlsplit(uri).path)).stat().st_size for uri in lake.read(table).inputFiles()]


def compact_small_files(lake: Lake, table: Table, sizes: list[int] | None = None) -> bool:
    """Compact a local table if it has enough small files; return whether it did. `sizes` are those of its files."""
    sizes = _sizes(lake, table) if sizes is None else sizes
    is_due = sum(size < SMALL_BYTES for size in sizes) >= LEAST_FILES
    if is_due:
        _compact(lake, table)
    return is_due


def _compact(lake: Lake, table: Table) -> None:
    conf = {
        "spark.databricks.delta.optimize.minFileSize": SMALL_BYTES,
        "spark.databricks.delta.optimize.maxFileSize": TARGET_BYTES,
    }
    for name, value in conf.items():
        lake.spark.conf.set(name, str(value))
    lake.delta(table).optimize().executeCompaction()


def _drop_old_commits(lake: Lake, table: Table, table_id: str) -> int:
    """Delete commits that no query still needs and that are older than `lake.log_retention`; return their number.

    Delta's own cleanup truncates to midnight and ignores what queries need, so it is off locally
    (`lakehouse.tables.lake`). As with Delta, each retained version stays readable: only commits before the checkpoint
    that it starts from are deleted.
    """
    folder, queries = lake.path(table) / "_delta_log", lake.settings.folder / "checkpoints"
    commits = {int(path.stem): path for path in folder.glob("*.json")}
    new_since = min([(datetime.now(UTC) - _log_retention(lake)).timestamp(), *_unfinished_since(queries)])
    kept = [version for version, path in commits.items() if path.stat().st_mtime >= new_since]
    # A batch that is run again compares with the version before its own commit.
    needed = min([min(kept, default=max(commits) + 1) - 1, *_versions_read(queries, table_id)])
    checkpoints = _checkpoints(folder)
    first = max((version for version in checkpoints if version <= needed), default=0)
    dropped = [version for version in sorted(commits) if version < first]
    for version in dropped:  # oldest first: the remaining log is valid wherever this is interrupted
        commits[version].unlink()
    for version in sorted(checkpoints):
        if version < first:
            checkpoints[version].unlink()
    return len(dropped)


def _delete_unreferenced(lake: Lake, table: Table, needed: int) -> int:
    """Delete the data files that no version in the log needs; return their number."""
    folder = lake.path(table)
    now = datetime.now(UTC).timestamp()
    oldest = min(commit.stat().st_mtime for commit in (folder / "_delta_log").glob("*.json"))
    # Whole hours: Delta rounds to the nearest, and would round half an hour down to none.
    hours = max(LEAST_HOURS, math.ceil((now - oldest) / 3600 + CLOCK_HOURS))
    written = [path.stat().st_mtime for path in folder.glob("*.parquet")]
    if sum(at < now - 3600 * hours for at in written) - needed < DEAD_FILES:
        return 0
    with any_retention(lake):
        lake.delta(table).vacuum(hours)
    return len(written) - sum(1 for _ in folder.glob("*.parquet"))


@contextmanager
def any_retention(lake: Lake) -> Iterator[None]:
    """Let VACUUM retain less than a week, where all readers are known, as in a lake with one writer."""
    lake.spark.conf.set(RETENTION_CHECK, "false")
    try:
        yield
    finally:
        lake.spark.conf.unset(RETENTION_CHECK)


def _log_retention(lake: Lake) -> timedelta:
    _, number, unit = lake.settings.lake.log_retention.split()
    return timedelta(**{unit: int(number)})


def _batches(folder: Path) -> list[int]:
    """The batch numbers in a query's offset or commit log, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def _unfinished_since(queries: Path) -> list[float]:
    """Start times of batches that will run again at the next start, and may have written some of their tables."""
    newest = [offsets / str(batches[-1]) for offsets in queries.glob("*/offsets") if (batches := _batches(offsets))]
    return [batch.stat().st_mtime for batch in newest if not (batch.parent.parent / "commits" / batch.name).exists()]


def _versions_read(queries: Path, table_id: str) -> list[int]:
    """The table versions that queries continue from: a rerun batch starts where the batch before it ended."""
    found = []
    for offsets in queries.glob("*/offsets"):
        for batch in _batches(offsets)[-2:]:
            lines = (offsets / str(batch)).read_text(encoding="utf-8").splitlines()
            read = [json.loads(line) for line in lines[2:] if line.startswith("{")]  # after version and metadata
            found += [int(offset["reservoirVersion"]) for offset in read if offset.get("reservoirId") == table_id]
    return found
