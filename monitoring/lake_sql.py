"""SQL on the lake's tables by DuckDB, for monitoring: only the tables that a statement names are opened."""

from collections.abc import Mapping
from typing import Any

from lakehouse.settings import Settings
from lakehouse.sql.query import Result, query
from streaming.tables import TABLES


def lake_query(
    settings: Settings, statement: str, parameters: Mapping[str, Any] | None = None, *, seconds: float | None = None
) -> Result:
    """Run one SELECT; timestamps in the result are naive and in UTC.

    Args:
        settings: settings of the lake.
        statement: names its tables with their layer.
        parameters: values for its `$name` parameters.
        seconds: the time limit; None for no limit.

    Raises:
        ComplaintsError: there are no tables yet, or the statement can't be run.
    """
    named = [table for table in TABLES if table.name in statement] or TABLES
    return query(settings, named, statement, parameters, seconds=seconds)
