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

from bronze.files import SUFFIXES, digest, is_system_file, open_members
from bronze.land import DIGEST_SHOWN, landed_from_files
from bronze.tables import COMPLAINTS, FILES
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import STAGING, Lake

STAGED_ROWS = 20_000
STAGED_CHARACTERS = 64 * 1024 * 1024  # a chunk also ends at this size: a record can have millions of characters
UNKNOWN_NAMES = 50  # recorded for a file, each up to
NAME_CHARACTERS = 100

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
    """The result of loading one file: rows landed now, or that its content was landed before.

    Attributes:
        path: the file.
        sha256: digest of its content.
        rows: the rows that it gave to bronze.
        is_known: whether they were landed before.
        unknown_columns: columns or keys that are no known field; empty if the rows were landed before.
        warnings: what was left out, a sentence each.
    """

    path: Path
    sha256: str
    rows: int
    is_known: bool
    unknown_columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
        inside = [file for file in _files_in(path) if file.name.lower().endswith(SUFFIXES)]
        if not inside:
            msg = f"The folder {path} holds no file to load: expected names that end in {', '.join(SUFFIXES)}."
            raise ComplaintsError(msg)
        files += inside
    return list(dict.fromkeys(files))


def skipped_in(paths: Iterable[Path]) -> list[Path]:
    """Return the files of the given folders that `files_of` leaves out because of their names, in order."""
    paths = tuple(paths)
    found = dict.fromkeys(file for path in paths if path.is_dir() for file in _files_in(path))
    return [file for file in found if file not in paths and not file.name.lower().endswith(SUFFIXES)]


def _files_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not is_system_file(str(path.relative_to(folder))))


def land_file(
    lake: Lake, path: Path, known_keys: Collection[str], on_rows: Callable[[int], None] = lambda _: None
) -> LandedFile:
    """Land one file in one commit; content that was landed before, under any name, adds nothing.

    Args:
        lake: the lake; this process must hold its writer lock.
        path: the file.
        known_keys: normalized field names; a header or a JSON object must name one of them to count as complaints.
        on_rows: called with the number of rows read so far.

    Raises:
        ComplaintsError: the file can't be read, or changed while it was read; names the file, and no row is landed.
    """
    state = state_of(path)
    warnings: list[str] = []
    members = open_members(path, known_keys, warnings.append)
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
    unknown = dict.fromkeys(name[:NAME_CHARACTERS] for member in members for name in member.unknown_names)
    warnings += [warning for member in members for warning in member.warnings]
    names = tuple(unknown)[:UNKNOWN_NAMES]
    landed = LandedFile(path, sha256, rows, is_known=False, unknown_columns=names, warnings=tuple(warnings))
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
    found = {"rows": landed.rows, "unknown_columns": landed.unknown_columns}
    row = lake.frame([{"sha256": landed.sha256, **file, **found}], FILES)
    lake.append(row.withColumn("loaded_at", F.current_timestamp()), FILES, mark("load", landed.sha256))
