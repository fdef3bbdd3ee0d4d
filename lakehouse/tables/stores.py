"""How a Delta table is created, read and written: as a folder below the root, or as a name in Unity Catalog."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from delta.tables import DeltaTable, DeltaTableBuilder
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql.streaming.readwriter import DataStreamReader

from lakehouse.settings import Settings
from lakehouse.tables.declaration import STATISTICS, Table

CONSTRAINT = "delta.constraints."
Reader = DataFrameReader | DataStreamReader


class TableStore(Protocol):
    """The tables of one lake on one platform.

    Attributes:
        where: the place that messages name.
        adds_constraints_later: constraints can't be part of the commit that creates a table.
    """

    where: str
    adds_constraints_later: bool

    def identifier(self, table: Table) -> str:
        """The table in SQL."""

    def exists(self, spark: SparkSession, table: Table) -> bool:
        """Whether the table was created."""

    def create_views(self, spark: SparkSession, table: Table) -> None:
        """Create the table's views, where the platform keeps views."""

    def delta(self, spark: SparkSession, table: Table) -> DeltaTable:
        """The table for MERGE, UPDATE and history."""

    def placed(self, builder: DeltaTableBuilder, table: Table) -> DeltaTableBuilder:
        """A builder that creates the table in its place, clustered where the platform clusters."""

    def properties(self, table: Table) -> dict[str, str]:
        """The table properties to create it with."""

    def load(self, reader: Reader, table: Table) -> DataFrame:
        """Read the table with a batch or stream reader."""

    def append(self, rows: DataFrame, table: Table, options: Mapping[str, str]) -> None:
        """Append rows in one commit."""


class FolderStore:
    """Tables as folders: ``<root>/tables/<layer>/<table>``."""

    adds_constraints_later = False

    def __init__(self, settings: Settings) -> None:
        self.where = str(settings.folder)
        self._settings = settings

    def path(self, table: Table) -> Path:
        """The table's folder."""
        return table_path(self._settings, table)

    def identifier(self, table: Table) -> str:
        """The table's folder, in SQL."""
        return f"delta.`{self.path(table)}`"

    def exists(self, spark: SparkSession, table: Table) -> bool:
        """Whether the folder has a Delta table."""
        return DeltaTable.isDeltaTable(spark, str(self.path(table)))

    def create_views(self, spark: SparkSession, table: Table) -> None:
        """Nothing: `lakehouse.sql.query` defines them for each connection."""

    def delta(self, spark: SparkSession, table: Table) -> DeltaTable:
        """The table by its folder."""
        return DeltaTable.forPath(spark, str(self.path(table)))

    def placed(self, builder: DeltaTableBuilder, table: Table) -> DeltaTableBuilder:
        """Create it in its folder."""
        return builder.location(str(self.path(table)))

    def properties(self, table: Table) -> dict[str, str]:
        """The declared properties and constraints: adding one later by ALTER takes 3 s of CPU time."""
        return {
            **table.properties,
            **{f"{CONSTRAINT}{name}": condition for name, condition in table.constraints.items()},
            "delta.enableExpiredLogCleanup": "false",  # it ignores what queries still need: see maintenance
        }

    def load(self, reader: Reader, table: Table) -> DataFrame:
        """Read the folder."""
        return reader.format("delta").load(str(self.path(table)))

    def append(self, rows: DataFrame, table: Table, options: Mapping[str, str]) -> None:
        """Append to the folder."""
        rows.write.format("delta").mode("append").options(**options).save(str(self.path(table)))


class CatalogStore:
    """Tables in Unity Catalog: ``<layer's schema>.<table>`` in the session's catalog."""

    adds_constraints_later = True

    def __init__(self, settings: Settings) -> None:
        self.where = str(settings.lake.catalog)
        self._schemas = settings.lake.schemas

    def identifier(self, table: Table) -> str:
        """The table's name, relative to the session's catalog."""
        return f"{getattr(self._schemas, table.layer)}.{table.name.split('.')[1]}"

    def exists(self, spark: SparkSession, table: Table) -> bool:
        """Whether the catalog has the table."""
        return spark.catalog.tableExists(self.identifier(table))

    def create_views(self, spark: SparkSession, table: Table) -> None:
        """Create or replace them in the schemas of their layers."""
        for view in table.views:
            schema, name = getattr(self._schemas, view.layer), view.name.split(".")[1]
            sql = view.sql.format(table=self.identifier(table))
            spark.sql(f"CREATE OR REPLACE VIEW {schema}.{name} COMMENT '{view.comment}' AS {sql}")

    def delta(self, spark: SparkSession, table: Table) -> DeltaTable:
        """The table by its name."""
        return DeltaTable.forName(spark, self.identifier(table))

    def placed(self, builder: DeltaTableBuilder, table: Table) -> DeltaTableBuilder:
        """Create it under its name, with liquid clustering."""
        builder = builder.tableName(self.identifier(table))
        return builder.clusterBy(*table.cluster_by) if table.cluster_by else builder

    def properties(self, table: Table) -> dict[str, str]:
        """The declared properties; liquid clustering requires statistics on its columns."""
        properties = dict(table.properties)
        if STATISTICS in properties:
            columns = dict.fromkeys([*properties[STATISTICS].split(","), *table.cluster_by])
            properties[STATISTICS] = ",".join(columns)
        return properties

    def load(self, reader: Reader, table: Table) -> DataFrame:
        """Read the table by its name."""
        return reader.table(self.identifier(table))

    def append(self, rows: DataFrame, table: Table, options: Mapping[str, str]) -> None:
        """Append to the table by its name."""
        rows.writeTo(self.identifier(table)).options(**options).append()


def table_path(settings: Settings, table: Table) -> Path:
    """The folder of a local table."""
    return settings.folder / "tables" / table.layer / table.name.split(".")[1]


def store_of(settings: Settings) -> TableStore:
    """The store of this lake's platform."""
    return FolderStore(settings) if settings.platform.tables_are_files else CatalogStore(settings)
