"""Tables of a local lake as of one version each, read by DuckDB within bounded memory, without Spark.

Each query of `lakehouse.sql.query` sees a table as it is at that moment. Here a table stays as it was when it was
pinned, so that several queries agree with each other while a stream writes. What does not fit in memory spills to a
folder.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from lakehouse.settings import Settings
from lakehouse.sql.query import _delta_extension
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import table_path

MEMORY = "1GB"  # enough for ten million rows: what is larger spills
THREADS = 2
TYPES = {"string": "VARCHAR", "timestamp": "TIMESTAMPTZ", "int": "INTEGER"}  # as DuckDB names them; others are alike


def newest_version(settings: Settings, table: Table) -> int | None:
    """The newest version of a table; None when the lake has no such table."""
    log = table_path(settings, table) / "_delta_log"
    names = os.listdir(log) if log.is_dir() else ()  # noqa: PTH208 - quick: a log may have thousands of files
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return max((int(stem) for stem in stems if stem.isdigit()), default=None)


class PinnedTables:
    """A connection to DuckDB in which tables of the lake are views of one version each.

    Args:
        settings: the lake's.
        spill: an empty folder for what memory can't hold.

    Attributes:
        connection: where the views are, for queries and for tables of one's own.
        versions: by table the version that its view shows; None for a table that the lake lacks.
    """

    def __init__(self, settings: Settings, spill: Path) -> None:
        self._settings = settings
        self.versions: dict[Table, int | None] = {}
        self.connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self.connection.execute(f"LOAD '{_delta_extension()}'")
        self.connection.execute(f"SET memory_limit = '{MEMORY}'")
        self.connection.execute(f"SET threads = {THREADS}")
        self.connection.execute("SET temp_directory = $spill", {"spill": str(spill)})
        self.connection.execute("SET preserve_insertion_order = false")
        self.connection.execute("SET TimeZone = 'UTC'")

    def pin(self, table: Table, columns: Sequence[str]) -> None:
        """Make the view of a table, with some of its columns, as the table is now.

        A column that the table lacks, since an earlier version of the project made it, is null; a table that the lake
        lacks is empty.
        """
        version = self.versions[table] = newest_version(self._settings, table)
        source, present = "range(0)", set[str]()
        if version is not None:
            folder = str(table_path(self._settings, table)).replace("'", "''")
            source = f"delta_scan('{folder}', version = {version})"
            described = self.connection.execute(f"SELECT * FROM {source} LIMIT 0").description  # noqa: S608 - our folder
            present = {name for name, *_ in described or ()}
        types = {column.name: TYPES.get(column.type, column.type) for column in table.columns}
        listed = (f'"{name}"' if name in present else f'NULL::{types[name]} AS "{name}"' for name in columns)
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        self.connection.execute(f"CREATE VIEW {table.name} AS SELECT {', '.join(listed)} FROM {source}")  # noqa: S608
