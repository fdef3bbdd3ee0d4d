"""Load export files: land their records in bronze.complaints, each file's content exactly once.

Reads CSV and JSON files (see `bronze.files`); writes bronze.complaints and bronze.files.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze.files import SUFFIXES, Member, digest, is_system_file, open_members
from bronze.land import DIGEST_SHOWN, landed_from_files
from bronze.tables import COMPLAINTS, FILES
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import STAGING, Lake

STAGED_ROWS = 20_000
PART_ROWS = 200_000  # of a staged file: a full export is compared part by part
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
        unchanged: of a full export, the rows that said nothing new and were not landed; otherwise None.
    """

    path: Path
    sha256: str
    rows: int
    is_known: bool
    unknown_columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unchanged: int | None = None


class Comparison(Protocol):
    """Compares a full export with what the lake has (`streaming.batch.full_export`)."""

    def unchanged(self, part: Path) -> pa.Array:
        """Return the record ids of a staged part's rows that say nothing new."""

    def check(self) -> None:
        """Reject the file if it is no full export, once all parts are compared."""

    def record(self, sha256: str, file: str) -> None:
        """Record which complaints it lacks, once its rows are in bronze."""


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
    lake: Lake,
    path: Path,
    known_keys: Collection[str],
    on_rows: Callable[[int], None] = lambda _: None,
    comparison: Comparison | None = None,
) -> LandedFile:
    """Land one file in one commit; content that was landed before, under any name, adds nothing.

    Args:
        lake: the lake; this process must hold its writer lock.
        path: the file.
        known_keys: normalized field names; a header or a JSON object must name one of them to count as complaints.
        on_rows: called with the number of rows read so far.
        comparison: for a full export: what leaves out the rows that say nothing new, and records what is missing. A
            file that was landed before, but not as a full export, is compared too.

    Raises:
        ComplaintsError: the file can't be read, changed while it was read, or is no full export; names the file, and no
            row is landed.
    """
    state = state_of(path)
    warnings: list[str] = []
    members = open_members(path, known_keys, warnings.append)
    sha256 = digest(path)
    before = lake.read(FILES).where(F.col("sha256") == sha256)
    known = (before if comparison is None else before.where("unchanged IS NOT NULL")).first()
    if known is not None:
        return LandedFile(path, sha256, int(known.rows), is_known=True)
    rows, left_out, landed = _land_rows(lake, path, _records(members, sha256), sha256, on_rows, state, comparison)
    unknown = dict.fromkeys(name[:NAME_CHARACTERS] for member in members for name in member.unknown_names)
    warnings += [warning for member in members for warning in member.warnings]
    names = tuple(unknown)[:UNKNOWN_NAMES]
    file = LandedFile(path, sha256, rows, is_known=False, unknown_columns=names, warnings=tuple(warnings))
    _record_load(lake, replace(file, unchanged=left_out))
    return file if left_out is None else replace(file, unchanged=left_out + landed)


def _land_rows(
    lake: Lake,
    path: Path,
    records: Iterator[Mapping[str, Any]],
    sha256: str,
    on_rows: Callable[[int], None],
    state: FileState | None,
    comparison: Comparison | None,
) -> tuple[int, int | None, int]:
    """Stage and commit the rows; return their number, those left out (None without comparison), and landed before."""
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=lake.settings.folder))
    try:
        rows = _stage(records, staging, on_rows, PART_ROWS if comparison else None)
        if state_of(path) != state:
            msg = f"{path.name} was changed while it was read, so nothing of it was landed: load it once complete."
            raise ComplaintsError(msg)
        existing = _landed(lake, sha256)
        landed = existing.count()
        left_out = None if comparison is None else _leave_out(path, staging, comparison, existing if landed else None)
        if left_out is None or landed + left_out < rows:
            _commit(lake, staging, existing if landed else None, sha256)
        if comparison is not None:
            comparison.record(sha256, path.name)
    finally:
        shutil.rmtree(staging)
    return rows, left_out, landed


def _records(members: Iterable[Member], sha256: str) -> Iterator[Mapping[str, Any]]:
    for member in members:
        for r in member.records():
            place = {"source": r.source, "file": member.name, "sha256": sha256}
            yield {"number": r.number, "line": r.line, "payload": r.payload, "payload_bytes": r.payload_bytes} | place


def _stage(
    records: Iterator[Mapping[str, Any]], folder: Path, on_rows: Callable[[int], None], part_rows: int | None
) -> int:
    """Write the records to one file, or as parts of about `part_rows` rows; return their number."""
    rows, chunk = 0, _chunk(records)
    while chunk or not rows:
        end = rows + part_rows if part_rows else None
        with pq.ParquetWriter(folder / f"records-{rows:012}.parquet", _STAGED, compression="zstd") as part:
            while chunk and (end is None or rows < end):
                part.write_table(pa.Table.from_pylist(chunk, _STAGED))
                rows += len(chunk)
                on_rows(rows)
                chunk = _chunk(records)
        if not rows:
            break
    return rows


def _leave_out(path: Path, staging: Path, comparison: Comparison, existing: DataFrame | None) -> int:
    """Leave the rows that say nothing new out of the staged parts; return their number, without those landed before.

    The parts become one file again, so that the rows keep their order.

    Raises:
        ComplaintsError: the file is no full export; names it.
    """
    unchanged = {part: comparison.unchanged(part) for part in sorted(staging.glob("*.parquet"))}
    try:
        comparison.check()
    except ComplaintsError as error:
        msg = f"{path.name} is no full export, and nothing of it was landed: {error}."
        raise ComplaintsError(msg) from error
    left_out = 0
    with pq.ParquetWriter(staging / "kept.parquet", _STAGED, compression="zstd") as kept:
        for part, records in unchanged.items():
            staged = pq.ParquetFile(part)
            for group in range(staged.num_row_groups):  # one in memory at a time
                rows = staged.read_row_group(group)
                ids = record_ids(rows)
                landed = pa.array([], pa.string()) if existing is None else _among(existing, ids)
                is_same = compute.and_not(compute.is_in(ids, value_set=records), compute.is_in(ids, value_set=landed))
                kept.write_table(rows.filter(compute.invert(is_same)))
                left_out += compute.sum(is_same).as_py() or 0
            part.unlink()
    return left_out


def record_ids(staged: pa.Table) -> pa.ChunkedArray:
    """Return the ids that `landed_from_files` gives the rows."""
    digests = compute.utf8_slice_codeunits(staged["sha256"], 0, DIGEST_SHOWN)
    return compute.binary_join_element_wise(digests, staged["file"], staged["number"].cast(pa.string()), ":")


def _landed(lake: Lake, sha256: str) -> DataFrame:
    """Return the record ids of the file's rows that are in bronze: a killed load may have appended them."""
    first = f"{sha256[:DIGEST_SHOWN]}:"  # prefix of the file's record ids, so that statistics skip other data files
    return lake.read(COMPLAINTS).where(F.col("record_id").between(first, f"{first}\U0010ffff")).select("record_id")


def _among(existing: DataFrame, ids: pa.ChunkedArray) -> pa.Array:
    own = existing.sparkSession.createDataFrame(pa.table({"record_id": ids}).to_pandas(), "record_id string")
    rows = existing.join(F.broadcast(own), "record_id", "left_semi").collect()  # bounded: ids of a row group
    return pa.array([row.record_id for row in rows], pa.string())


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


def _commit(lake: Lake, staging: Path, existing: DataFrame | None, sha256: str) -> None:
    """Append the staged records that are missing from bronze."""
    rows = lake.spark.read.parquet(str(staging)).transform(landed_from_files)
    if existing is not None:
        rows = rows.join(existing, "record_id", "left_anti")
        if rows.isEmpty():
            return
    lake.append(rows, COMPLAINTS, mark("load", sha256))


def _record_load(lake: Lake, landed: LandedFile) -> None:
    file = {"file": landed.path.name, "bytes": landed.path.stat().st_size}
    found = {"rows": landed.rows, "unknown_columns": landed.unknown_columns, "unchanged": landed.unchanged}
    row = lake.frame([{"sha256": landed.sha256, **file, **found}], FILES)
    lake.append(row.withColumn("loaded_at", F.current_timestamp()), FILES, mark("load", landed.sha256))
