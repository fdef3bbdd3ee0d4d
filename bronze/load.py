"""Load export files: land their records in bronze.complaints, each file's content exactly once.

Reads CSV and JSON files (see `bronze.files`); writes bronze.complaints and bronze.files.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F

from bronze.files import digest, open_members
from bronze.land import DIGEST_SHOWN, landed_from_files
from bronze.tables import COMPLAINTS, FILES
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import STAGING, Lake

STAGED_ROWS = 20_000
STAGED_CHARACTERS = 64 * 1024 * 1024  # a chunk also ends at this size: a record can have millions of characters
SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".gz", ".zip")

_STAGED = pa.schema(
    [
        ("number", pa.int64()),
        ("line", pa.int64()),
        ("payload", pa.string()),
        ("payload_bytes", pa.binary()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class LandedFile:
    """The result of loading one file: rows landed now, or that its content was landed before."""

    path: Path
    sha256: str
    rows: int
    is_known: bool


@dataclass(frozen=True)
class FileState:
    """What shows that a file has changed: its size, and when it was last written, replaced or moved."""

    bytes: int
    changed_us: int


def state_of(path: Path) -> FileState | None:
    """Return the current state of a file; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return FileState(found.st_size, max(found.st_mtime_ns, found.st_ctime_ns) // 1000)


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the given files and the loadable files of the given folders, in order, without duplicates.

    Raises:
        ComplaintsError: a folder has no loadable file.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES))
        if not inside:
            msg = f"The folder {path} holds no file to load: expected names that end in {', '.join(SUFFIXES)}."
            raise ComplaintsError(msg)
        files += inside
    return list(dict.fromkeys(files))


def land_file(
    lake: Lake, path: Path, known_keys: Collection[str], on_rows: Callable[[int], None] = lambda _: None
) -> LandedFile:
    """Land one file in one commit; content that was landed before, under any name, adds nothing.

    Args:
        lake: the lake; this process must hold its writer lock.
        path: the file.
        known_keys: normalized field names; a CSV header must contain one of them to count as complaints.
        on_rows: called with the number of rows read so far.

    Raises:
        ComplaintsError: the file can't be read, or changed while it was read; names the file, and no row is landed.
    """
    state = state_of(path)
    members = open_members(path, known_keys)
    sha256 = digest(path)
    known = lake.read(FILES).where(F.col("sha256") == sha256).first()
    if known is not None:
        return LandedFile(path, sha256, int(known.rows), is_known=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=lake.settings.folder))
    try:
        records = (
            {"number": r.number, "line": r.line, "payload": r.payload, "payload_bytes": r.payload_bytes,
             "source": r.source, "file": member.name, "sha256": sha256}
            for member in members
            for r in member.records()
        )  # fmt: skip
        rows = _stage(records, staging / "records.parquet", on_rows)
        if state_of(path) != state:
            msg = f"{path.name} was changed while it was read, so nothing of it was landed: load it once complete."
            raise ComplaintsError(msg)
        _commit(lake, staging, sha256)
    finally:
        shutil.rmtree(staging)
    landed = LandedFile(path, sha256, rows, is_known=False)
    _record_load(lake, landed)
    return landed


def _stage(records: Iterator[Mapping[str, Any]], target: Path, on_rows: Callable[[int], None]) -> int:
    rows = 0
    with pq.ParquetWriter(target, _STAGED, compression="zstd") as writer:
        while chunk := _chunk(records):
            writer.write_table(pa.Table.from_pylist(chunk, _STAGED))
            rows += len(chunk)
            on_rows(rows)
    return rows


def _chunk(records: Iterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The next records that fit in memory; empty at the end."""
    chunk: list[Mapping[str, Any]] = []
    characters = 0
    for record in islice(records, STAGED_ROWS):
        chunk.append(record)
        characters += len(record["payload"] or record["payload_bytes"] or "")
        if characters >= STAGED_CHARACTERS:
            break
    return chunk


def _commit(lake: Lake, staging: Path, sha256: str) -> None:
    """Append the staged records missing from bronze: a killed load may have appended them without recording it."""
    rows = lake.spark.read.parquet(str(staging)).transform(landed_from_files)
    first = f"{sha256[:DIGEST_SHOWN]}:"  # prefix of the file's record ids, so that statistics skip other data files
    existing = lake.read(COMPLAINTS).where(F.col("record_id").between(first, f"{first}\U0010ffff"))
    if not existing.isEmpty():
        rows = rows.join(existing, "record_id", "left_anti")
        if rows.isEmpty():
            return
    lake.append(rows, COMPLAINTS, mark("load", sha256))


def _record_load(lake: Lake, landed: LandedFile) -> None:
    file = {"file": landed.path.name, "bytes": landed.path.stat().st_size}
    row = lake.frame([{"sha256": landed.sha256, **file, "rows": landed.rows}], FILES)
    lake.append(row.withColumn("loaded_at", F.current_timestamp()), FILES, mark("load", landed.sha256))
