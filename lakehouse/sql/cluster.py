"""SQL over the lake's tables with Spark, for clusters, where DuckDB is not used."""

import re
from collections.abc import Iterable
from typing import Any

from pyspark.errors import PySparkException

from lakehouse.errors import ComplaintsError
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

MOST_ROWS = 1_000  # collected on the driver: enough for a number or a list to read


def cluster_query(lake: Lake, tables: Iterable[Table], statement: str) -> list[tuple[Any, ...]]:
    """Return the first `MOST_ROWS` rows of one SELECT that uses the declared table names.

    It runs as a subquery of another SELECT, where Spark accepts a query but no command.

    Raises:
        ComplaintsError: the statement is invalid; the message includes Spark's error.
    """
    tables = tuple(tables)
    identifiers = {table.name: lake.identifier(table) for table in tables}
    identifiers |= {v.name: f"({v.sql.format(table=identifiers[t.name])})" for t in tables for v in t.views}
    names = re.compile(rf"\b({'|'.join(re.escape(name) for name in identifiers)})\b")
    try:
        selected = names.sub(lambda found: identifiers[found[1]], statement)
        rows = lake.spark.sql(f"SELECT * FROM (\n{selected}\n)").limit(MOST_ROWS)  # noqa: S608 - a subquery
        return [tuple(row) for row in rows.collect()]  # bounded: MOST_ROWS
    except PySparkException as error:
        msg = f"The SQL can't be run: {str(error).strip().partition(chr(10))[0]}"
        raise ComplaintsError(msg) from error
