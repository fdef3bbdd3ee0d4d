"""The lake's Delta tables: where they are stored, and how they are created, read and appended to exactly once.

Where they are stored depends on the platform (`lakehouse.tables.stores`).
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column as Condition
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.spark.internals import TableState, is_tested, table_state
from lakehouse.spark.session import start_session
from lakehouse.tables.declaration import Column, Table
from lakehouse.tables.stores import CONSTRAINT, store_of, table_path
from lakehouse.tables.writer_lock import JAVA_SECONDS, Holder, WriterLock, lock_holder

log = logging.getLogger(__name__)

ROWS_PER_FILE = 5_000  # so that readers get bounded batches, and split large ones into several tasks
STAGING = "staging-"  # name prefix of folders below the root for rows that are not yet in a table
FILE = "path string, modificationTime timestamp, length bigint, content binary"  # Spark's schema of a file
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


class Lake:
    """The tables of one lake, accessed through one Spark session."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark = spark
        self.settings = settings
        self._store = store_of(settings)

    def path(self, table: Table) -> Path:
        """The folder of a local table."""
        return table_path(self.settings, table)

    def checkpoint(self, query: str) -> str:
        """The checkpoint location of a streaming query."""
        return str(self.settings.folder / "checkpoints" / query)

    def delta(self, table: Table, spark: SparkSession | None = None) -> DeltaTable:
        """The table as a `DeltaTable`, for MERGE, UPDATE and history, in the given session or the lake's."""
        return self._store.delta(spark or self.spark, table)

    def create(self, tables: Iterable[Table]) -> None:
        """Create missing tables, with comments, constraints, clustering and properties.

        Nullable columns that are missing from an existing table are added.

        Raises:
            ComplaintsError: an existing table has other columns than declared.
        """
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._create, tables))

    def _create(self, table: Table) -> None:
        if self._store.exists(self.spark, table):
            self._compare(table)
        else:
            self._make(table)
        if table.constraints and self._store.adds_constraints_later:
            self._constrain(table)
        self._store.create_views(self.spark, table)

    def _make(self, table: Table) -> None:
        builder = self._store.placed(DeltaTable.createIfNotExists(self.spark), table)
        for field in table.schema.fields:
            comment = field.metadata["comment"]
            builder = builder.addColumn(field.name, field.dataType, nullable=field.nullable, comment=comment)
        builder = builder.comment(f"{table.comment} One row: {table.grain}.")
        for key, value in self._properties(table).items():
            builder = builder.property(key, value)
        builder.execute()

    def _properties(self, table: Table) -> dict[str, str]:
        return {"delta.logRetentionDuration": self.settings.lake.log_retention, **self._store.properties(table)}

    def _constrain(self, table: Table) -> None:
        """Add missing constraints: all of them to a new table, the rest if its creation was interrupted."""
        row = self.delta(table).detail().select("properties").first()
        present = row.properties if row else {}
        for name in table.constraints.keys() - {key.removeprefix(CONSTRAINT) for key in present}:
            condition = table.constraints[name]
            self.spark.sql(f"ALTER TABLE {self.identifier(table)} ADD CONSTRAINT {name} CHECK ({condition})")

    def identifier(self, table: Table) -> str:
        """The table's identifier in SQL."""
        return self._store.identifier(table)

    def _compare(self, table: Table) -> None:
        found = {f.name: f.dataType.simpleString() for f in self.delta(table).toDF().schema.fields}
        declared = {f.name: f.dataType.simpleString() for f in table.schema.fields}
        added = [column for column in table.columns if column.name not in found and column.nullable]
        if added and {**found, **{column.name: declared[column.name] for column in added}} == declared:
            self._widen(table, added)
        elif found != declared:
            differing = sorted(set(found.items()) ^ set(declared.items()))
            msg = (
                f"The table {table.name} in this lake has other columns than this version declares "
                f"({', '.join(sorted({name for name, _ in differing}))}): it was made by another version. "
                "Point COMPLAINTS_ROOT (on Databricks the catalog) at a new place and load again."
            )
            raise ComplaintsError(msg)

    def _widen(self, table: Table, columns: Iterable[Column]) -> None:
        """Add columns that an earlier version of the project did not have; they are null in existing rows."""
        listed = ", ".join(f"`{c.name}` {c.type} COMMENT '{_sql(c.comment)}'" for c in columns)
        self.spark.sql(f"ALTER TABLE {self.identifier(table)} ADD COLUMNS ({listed})")

    def read(self, table: Table, *, version: int | None = None, spark: SparkSession | None = None) -> DataFrame:
        """Read the table, at the latest or a given version.

        Raises:
            ComplaintsError: the table does not exist yet; the message names the command that creates it.
        """
        reader = (spark or self.spark).read
        if version is not None:
            reader = reader.option("versionAsOf", version)
        try:
            return self._store.load(reader, table)
        except AnalysisException as error:
            msg = f"There is no table {table.name} in {self._store.where} yet: run `complaints load` first."
            raise ComplaintsError(msg) from error

    def read_stream(self, table: Table, **options: str | int) -> DataFrame:
        """Read the table as a stream: existing rows, then each appended row; erasures are skipped."""
        reader = self.spark.readStream.option("skipChangeCommits", value=True)
        for key, value in options.items():
            reader = reader.option(key, value)
        return self._store.load(reader, table)

    def read_arrivals(self, folder: Path) -> DataFrame:
        """Read the paths of a folder's files as a stream: existing files, then each new one."""
        reader = self.spark.readStream.format(self.settings.lake.file_source).schema(FILE)
        reader = reader.option("cloudFiles.format", "binaryFile").option("recursiveFileLookup", value=True)
        return reader.load(str(folder)).select("path")

    def frame(
        self, records: Sequence[Mapping[str, object]], table: Table, *, spark: SparkSession | None = None
    ) -> DataFrame:
        """Return a few records as a DataFrame with the table's columns; a column missing from a record is null.

        The records are passed as one JSON literal: `createDataFrame` would start Python workers for them.
        """
        text = json.dumps(list(records), default=_as_text)
        columns = table.schema.simpleString()
        rows = F.from_json(F.lit(text), f"array<{columns}>")
        return (spark or self.spark).range(0, 1, 1, numPartitions=1).select(F.inline(rows))

    def append(self, rows: DataFrame, table: Table, mark: str) -> None:
        """Append rows in one commit with a mark (see `lakehouse.tables.commits`)."""
        if rows.columns != table.column_names:
            rows = rows.select(table.column_names)
        self._store.append(rows, table, {"userMetadata": mark, "maxRecordsPerFile": str(ROWS_PER_FILE)})

    def replace(self, rows: DataFrame, table: Table, which: Condition, mark: str) -> None:
        """Replace the rows that meet a condition, in one commit with a mark."""
        writing = rows.select(table.column_names).writeTo(self.identifier(table))
        writing.option("userMetadata", mark).overwrite(which)

    def version(self, table: Table) -> int:
        """The number of the table's latest commit."""
        if state := self._state(table):
            return state.version
        return int(self.delta(table).history(1).select("version").first()[0])  # type: ignore[index]

    def table_id(self, table: Table) -> str:
        """The id that Delta gave the table when it was created."""
        if state := self._state(table):
            return state.table_id
        return str(self.delta(table).detail().select("id").first()[0])  # type: ignore[index]

    def _state(self, table: Table) -> TableState | None:
        """The table's state where Delta's private API can be asked for it, which reads less."""
        is_known = self.settings.platform.tables_are_files and is_tested(self.spark)
        return table_state(self.spark, self.path(table)) if is_known else None


def _sql(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    msg = f"{type(value).__name__} can't be used in a record"
    raise TypeError(msg)


def writer_lock(settings: Settings, patience: float = JAVA_SECONDS) -> WriterLock:
    """Acquire the writer lock of this lake, held until it is released; a second writer is refused.

    Staged files that a killed writer left behind are removed.

    Local Delta commits are atomic within one process only, so a lake has one writer. On Databricks commits are always
    atomic, and volumes don't support locks: each query takes a lease on its checkpoint (`lakehouse.tables.lease`), and
    this lock is on the driver's own disk, against a second process there.

    Args:
        settings: the lake's settings.
        patience: seconds to wait for the Java process of a killed run.

    Raises:
        BusyError: another process is writing.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    refusal = (
        f"Another process is writing the lake in {settings.folder}: stop it first, "
        "or set COMPLAINTS_ROOT to another folder."
    )
    lock = WriterLock(_lock_file(settings), refusal, patience)
    for left in settings.folder.glob(f"{STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    return lock


def _lock_file(settings: Settings) -> Path:
    if not settings.platform.has_one_writer:
        return Path(tempfile.gettempdir()) / f"complaints-{settings.folder.as_posix().replace('/', '-')}.lock"
    return settings.folder / "writer.lock"


def writer(settings: Settings) -> Holder | None:
    """Return the process that writes this lake, or None."""
    return lock_holder(_lock_file(settings))


def open_lake(lock: WriterLock, settings: Settings) -> Lake:
    """Open the lake with a Spark session; locally its Java process also holds the writer lock.

    Raises:
        ComplaintsError: the session can't be started; the message says what to do.
    """
    spark = start_session(settings)
    if settings.platform.has_one_writer:
        lock.hand_to(spark)
    return Lake(spark, settings)
