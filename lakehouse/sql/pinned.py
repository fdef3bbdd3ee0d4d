"""Tables of a local lake, each pinned to one version, read by DuckDB in bounded memory without Spark.

A query of `lakehouse.sql.query` sees the latest version of a table. Here a table stays at the version that was pinned,
so several queries agree with each other while a stream writes. Data that does not fit in memory spills to a folder.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from lakehouse.settings import Settings
from lakehouse.sql.query import _delta_extension, declared_or_null
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path

MEMORY = "1GB"  # enough for ten million rows; more spills to disk
THREADS = 2


def newest_version(settings: Settings, table: Table) -> int | None:
    """The latest version of a table; None if the lake has no such table."""
    log = table_path(settings, table) / "_delta_log"
    names = os.listdir(log) if log.is_dir() else ()  # noqa: PTH208 - faster: a log may have thousands of files
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return max((int(stem) for stem in stems if stem.isdigit()), default=None)


class PinnedTables:
    """A DuckDB connection whose views show one version each of the lake's tables.

    Args:
        settings: the lake's settings.
        spill: an empty folder for data that does not fit in memory.

    Attributes:
        connection: the connection with the views, for queries and temporary tables.
        versions: the version shown by each table's view; None for a table that is missing from the lake.
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
        """Create a view of the table's latest version with the given columns.

        A column that is missing because an earlier version of the project created the table is null; a table that is
        missing from the lake is empty.
        """
        version = self.versions[table] = newest_version(self._settings, table)
        source, described = "range(0)", None
        if version is not None:
            folder = str(table_path(self._settings, table)).replace("'", "''")
            source = f"delta_scan('{folder}', version = {version})"
            described = self.connection.execute(f"SELECT * FROM {source} LIMIT 0").description  # noqa: S608 - own path
        listed = declared_or_null(table, columns, described or ())
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        self.connection.execute(f"CREATE VIEW {table.name} AS SELECT {listed} FROM {source}")  # noqa: S608
