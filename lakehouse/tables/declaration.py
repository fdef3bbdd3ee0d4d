"""Table declarations: columns, comments, constraints, clustering and properties, declared once for every use.

A declaration defines the Delta table (`lakehouse.tables.lake`), the data dictionary and the tests' empty frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import cast

from pyspark.sql.types import DataType, StructField, StructType, _parse_datatype_string

# The property that lists the columns with min/max statistics per file, which queries use to skip files.
STATISTICS = "delta.dataSkippingStatsColumns"

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """One column: its name, its SQL type (``bigint``, ``array<string>``…), its meaning, and whether it may be null."""

    name: str
    type: str
    comment: str
    nullable: bool = True


# The same in every layer.
SYNTHETIC = Column(
    "is_synthetic", "boolean", "True for what the project's load generator made, by the message's header; else null."
)


@dataclass(frozen=True)
class View:
    """A view over one table: its two-level name, what it shows, and its SELECT, with ``{table}`` for the table."""

    name: str
    comment: str
    sql: str

    @property
    def layer(self) -> str:
        """The schema's name; it may be a later layer than the table's."""
        return self.name.split(".")[0]


@dataclass(frozen=True, eq=False)
class Table:
    """One table of the lake.

    Attributes:
        name: two-level name, ``layer.table``.
        grain: what one row is.
        comment: what the table is for.
        columns: the columns in order.
        constraints: constraint name to SQL condition that each row must meet.
        cluster_by: columns that OPTIMIZE clusters by.
        properties: Delta table properties beyond the lake's defaults.
        views: views over it, which can be queried wherever it can.
    """

    name: str
    grain: str
    comment: str
    columns: tuple[Column, ...]
    constraints: Mapping[str, str] = field(default_factory=lambda: NONE)
    cluster_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=lambda: NONE)
    views: tuple[View, ...] = ()

    @property
    def queryable(self) -> tuple[str, ...]:
        """The names of the table and its views."""
        return (self.name, *(view.name for view in self.views))

    @property
    def layer(self) -> str:
        """The schema's name: bronze, silver or gold."""
        return self.name.split(".")[0]

    @property
    def column_names(self) -> list[str]:
        """The columns' names in order, for the `select` that ends a transformation."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> StructType:
        """The Spark schema. Requires an active Spark session, which parses the SQL types."""
        together = parsed(", ".join(f"`{column.name}` {column.type}" for column in self.columns))  # one call, not many
        types = cast("StructType", together).fields
        return StructType(
            [
                StructField(column.name, field.dataType, column.nullable, {"comment": column.comment})
                for column, field in zip(self.columns, types, strict=True)
            ]
        )


def parsed(sql_type: str) -> DataType:
    """Parse a SQL type into Spark's type. Requires an active Spark session."""
    return _parse_datatype_string(sql_type)
