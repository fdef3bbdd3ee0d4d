"""Load files end to end: land them in bronze, refine bronze into silver, and count rows per file."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from bronze import tables as bronze
from bronze.land import DIGEST_SHOWN, FROM_FILE
from bronze.load import Comparison, LandedFile, files_of, land_file, skipped_in
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.spark.planned import planned
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from silver.expectations import load_expectations
from silver.fields import KNOWN_KEYS
from silver.tables import COMPLAINTS, DUPLICATES, OUTCOMES, QUARANTINE
from silver.withdrawals import RETURNED, WITHDRAWN
from streaming.batch.arrivals import Arrivals
from streaming.batch.full_export import FullExport, compared
from streaming.batch.processing_owner import streams
from streaming.queries.checkpoints import running_progress
from streaming.queries.definitions import Queries, Trigger
from streaming.queries.supervisor import failure
from streaming.tables import TABLES

COUNTED = {"silver": COMPLAINTS, "quarantined": QUARANTINE, "duplicates": DUPLICATES, "outcomes": OUTCOMES}

OnProgress = Callable[[str, int, int | None], None]


@dataclass
class Landed:
    """Result of landing: files, one sentence per unreadable file, files still being written, and skipped files."""

    files: list[LandedFile]
    errors: list[str]
    waiting: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class LoadResult:
    """Result of a load.

    Attributes:
        files: the result per landed file.
        counts: rows per destination (`COUNTED`), by the digest of each file's content; None if only landed.
        errors: one sentence per file that could not be read.
        waiting: files that are still being written; the next load takes them.
        skipped: files in the given folders whose names don't end as those of CSV and JSON files do.
        seconds: from start to end, including Spark's startup.
        withdrawn: of a full export, complaints that it lacks and earlier ones had; None for other loads.
        returned: of a full export, complaints that were withdrawn and are in it again; None for other loads.
    """

    files: tuple[LandedFile, ...]
    counts: dict[str, dict[str, int]] | None
    errors: tuple[str, ...]
    waiting: tuple[Path, ...]
    skipped: tuple[Path, ...]
    seconds: float
    withdrawn: int | None = None
    returned: int | None = None

    @property
    def rows(self) -> int:
        """Rows landed by this load."""
        return sum(file.rows for file in self.files if not file.is_known)

    def as_json(self) -> dict[str, Any]:
        """Return total rows by destination, seconds, the paths of skipped files, and the result per file under `files`.

        Keys: rows, silver, quarantined, duplicates, outcomes, seconds, skipped. Of a file: the same rows, known,
        unknown_columns, warnings.

        A file's key is its name, or its path if several have the same name. If only landed, only rows are included. Of
        a full export also unchanged, withdrawn and returned.
        """
        names = Counter(file.path.name for file in self.files)
        files: dict[str, dict[str, Any]] = {}
        counted = () if self.counts is None else tuple(COUNTED)
        for file in self.files:
            counts = {} if file.is_known else (self.counts or {}).get(file.sha256, {})
            files[str(file.path) if names[file.path.name] > 1 else file.path.name] = {
                "rows": 0 if file.is_known else file.rows,
                **{name: counts.get(name, 0) for name in counted},
                "known": file.is_known,
                **({} if self.withdrawn is None else {"unchanged": file.unchanged or 0}),
                "unknown_columns": list(file.unknown_columns),
                "warnings": list(file.warnings),
            }
        compared = () if self.withdrawn is None else ("unchanged",)
        totals = {name: sum(counts[name] for counts in files.values()) for name in ("rows", *counted, *compared)}
        if self.withdrawn is not None:
            totals |= {"withdrawn": self.withdrawn, "returned": self.returned or 0}
        skipped = [str(path) for path in self.skipped]
        return {**totals, "seconds": round(self.seconds, 1), "skipped": skipped, "files": files}


def load_files(settings: Settings, paths: Iterable[Path], on_progress: OnProgress) -> LoadResult:
    """Land the files and refine until silver has all of bronze.

    A file that can't be read is reported in the result; the others are still loaded. If a stream runs continuously,
    files are only landed and the stream refines them (`streaming.batch.processing_owner`).

    Raises:
        ComplaintsError: none of the paths exists, another process writes the lake, or refining failed.
    """
    paths = tuple(paths)
    files, skipped = files_of(paths), skipped_in(paths)
    if not any(file.exists() for file in files):  # refused before the slow start of Spark
        msg = f"There is no file or folder {', '.join(map(str, files))}."
        raise ComplaintsError(msg)
    return _load(settings, lambda lake: _land(lake, files, skipped, on_progress), on_progress)


def load_full_export(settings: Settings, path: Path, on_progress: OnProgress) -> LoadResult:
    """Land what is new or has changed in a full export, record which complaints it lacks, and refine.

    Raises:
        ComplaintsError: the file doesn't exist, another process writes the lake, or refining failed.
    """
    if not path.is_file():
        msg = f"There is no file {path}: --snapshot takes one file, a full export."
        raise ComplaintsError(msg)
    exports: list[FullExport] = []

    def land(lake: Lake) -> Landed:
        refining = Queries(lake).refining(load_expectations(lake.spark))
        export = FullExport(
            lake, planned(compared(refining), settings), lambda rows: on_progress(f"comparing {path.name}", rows, None)
        )
        exports.append(export)
        return _land(lake, [path], [], on_progress, export)

    result = _load(settings, land, on_progress, is_compared=True)
    return replace(result, withdrawn=exports[0].counts[WITHDRAWN], returned=exports[0].counts[RETURNED])


def load_arrivals(settings: Settings, on_progress: OnProgress) -> LoadResult:
    """Load the files that have arrived in the landing folder since the last call.

    A file that could not be read is retried each time while it exists; one that is still being written waits.

    Raises:
        ComplaintsError: the folder doesn't exist, another process writes the lake, or refining failed.
    """
    if not settings.landing.is_dir():
        msg = f"The landing folder {settings.landing} doesn't exist: create it, or set COMPLAINTS_LAKE__LANDING."
        raise ComplaintsError(msg)
    return _load(settings, lambda lake: _land_arrivals(lake, on_progress), on_progress)


def _load(
    settings: Settings, land: Callable[[Lake], Landed], on_progress: OnProgress, *, is_compared: bool = False
) -> LoadResult:
    began = time.monotonic()
    lock = writer_lock(settings)
    try:
        lake = open_lake(lock, settings)
        on_progress("creating tables", 0, None)
        lake.create(TABLES)
        # It is compared with silver, which must have all of bronze.
        if is_compared and not streams(settings) and not _is_refined(lake):
            refine(lake, lambda done: on_progress("refining", done, None))
        since = lake.spark.sql("SELECT current_timestamp()").first()[0]  # type: ignore[index]
        landed = land(lake)
        counts = None
        if not streams(settings):
            expected = sum(file.rows - (file.unchanged or 0) for file in landed.files if not file.is_known)
            refine(lake, lambda done: on_progress("refining", done, expected or None))
            counts = _counts(lake, landed.files, since)
    finally:
        lock.release()
    seconds = time.monotonic() - began
    lists = (tuple(landed.errors), tuple(landed.waiting), tuple(landed.skipped))
    return LoadResult(tuple(landed.files), counts, *lists, seconds)


def _land_arrivals(lake: Lake, on_progress: OnProgress) -> Landed:
    """Land files due for a retry and paths that are new to Spark's source; a rerun batch adds nothing."""
    arrivals = Arrivals(lake, partial(_land_file, lake, on_progress))
    arrivals.take(arrivals.due())

    def land(batch: DataFrame, _: int) -> None:
        arrivals.take(_path(row.path) for row in batch.select("path").collect())  # bounded: one row per file

    new = lake.read_arrivals(lake.settings.landing).writeStream.queryName("arrivals").foreachBatch(land)
    new = new.option("checkpointLocation", lake.checkpoint("arrivals"))
    follow(Trigger(until_done=True).applied(new).start(), lambda _: None)
    return Landed(arrivals.landed, arrivals.errors, arrivals.waiting)


def _path(uri: str) -> Path:
    """Convert Spark's file URI (``file:/data/a b.csv``, ``dbfs:/Volumes/…``) to a local path."""
    return Path("/" + uri.partition(":")[2].lstrip("/"))


def _land(
    lake: Lake,
    files: Iterable[Path],
    skipped: list[Path],
    on_progress: OnProgress,
    comparison: Comparison | None = None,
) -> Landed:
    landed = Landed([], [], skipped=skipped)
    for path in files:
        try:
            landed.files.append(_land_file(lake, on_progress, path, comparison))
        except ComplaintsError as error:
            landed.errors.append(str(error))
    return landed


def _land_file(lake: Lake, on_progress: OnProgress, path: Path, comparison: Comparison | None = None) -> LandedFile:
    return land_file(lake, path, KNOWN_KEYS, partial(_report_rows, on_progress, path.name), comparison)


def _report_rows(on_progress: OnProgress, name: str, rows: int) -> None:
    on_progress(f"landing {name}", rows, None)


def refine(lake: Lake, on_rows: Callable[[int], None]) -> None:
    """Refine all rows that are in bronze but not yet in silver, and merge the outcomes that they report."""
    queries, done = Queries(lake), Trigger(until_done=True)
    follow(queries.refine(done), on_rows)
    follow(queries.merge(done), lambda _: None)


def _is_refined(lake: Lake) -> bool:
    """Whether the refine query's checkpoint says that it has read all of bronze; False where that isn't known."""
    if not lake.settings.platform.tables_are_files:
        return False
    read = running_progress(lake.settings, "refine").read
    next_version = lake.version(bronze.COMPLAINTS) + 1
    if read is None:
        return lake.read(bronze.COMPLAINTS).isEmpty()
    return not read["isStartingVersion"] and int(read["reservoirVersion"]) >= next_version


def follow(query: StreamingQuery, on_rows: Callable[[int], None]) -> None:
    """Wait for a query that ends by itself, and report its rows so far every second.

    Raises:
        ComplaintsError: the query failed; the message gives the reason.
    """
    done: dict[int, int] = {}
    while query.isActive:
        with suppress(PySparkException):  # reported below
            query.awaitTermination(1)
        done |= {p["batchId"]: p["numInputRows"] for p in query.recentProgress}
        on_rows(sum(done.values()))
    if query.exception() is not None:
        msg = f"The {query.name} query failed: {failure(query)}"
        raise ComplaintsError(msg)


def _counts(lake: Lake, landed: Iterable[LandedFile], since: object) -> dict[str, dict[str, int]]:
    """Return rows per file and destination, of rows refined since; file statistics skip older files."""
    counts: dict[str, dict[str, int]] = {file.sha256: {} for file in landed}
    digests = {sha256[:DIGEST_SHOWN]: sha256 for sha256 in counts}
    for name, table in COUNTED.items():
        for row in _by_digest(lake, table, since):
            if row.digest in digests:
                counts[digests[row.digest]][name] = row["count"]
    return counts


def _by_digest(lake: Lake, table: Table, since: object) -> list[Any]:
    written = "observed_at" if table is OUTCOMES else "refined_at"
    digest = F.regexp_extract("record_id", FROM_FILE, 1)
    rows = lake.read(table).where(F.col(written) >= F.lit(since))
    once = F.count_distinct("record_id").alias("count")
    return rows.groupBy(digest.alias("digest")).agg(once).collect()  # bounded: one row per file
