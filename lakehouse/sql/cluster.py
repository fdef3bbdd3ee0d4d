"""SQL over the lake's tables by Spark: on a cluster, where DuckDB is not."""

import re
from collections.abc import Iterable
from typing import Any

from pyspark.errors import PySparkException

from lakehouse.errors import ComplaintsError
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

MOST_ROWS = 1_000  # that the driver takes: who asks wants a figure or a list to read


def cluster_query(lake: Lake, tables: Iterable[Table], statement: str) -> list[tuple[Any, ...]]:
    """The first `MOST_ROWS` rows of one SELECT, which calls tables as they are declared, wherever the lake keeps them.

    It is run as a part of another SELECT, where Spark takes a query and no command.

    Raises:
        ComplaintsError: the statement is wrong; says what Spark found.
    """
    places = {table.name: lake.identifier(table) for table in tables}
    names = re.compile(rf"\b({'|'.join(re.escape(name) for name in places)})\b")
    try:
        selected = names.sub(lambda found: places[found[1]], statement)
        rows = lake.spark.sql(f"SELECT * FROM (\n{selected}\n)").limit(MOST_ROWS)  # noqa: S608 - alone in its brackets
        return [tuple(row) for row in rows.collect()]
    except PySparkException as error:
        msg = f"The SQL can't be run: {str(error).strip().partition(chr(10))[0]}"
        raise ComplaintsError(msg) from error
