"""The summarising query: gold.decisions to the aggregates, apart from the hot path, each batch added exactly once.

A sum doesn't tell what is in it. So the first batch of a query replaces what is there: the query reads all decisions
from then on.
"""

from contextlib import suppress

from delta.exceptions import ConcurrentAppendException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from gold.aggregates import INCREMENTS, KEYS, NEEDED, TIME, consolidated
from lakehouse.spark.held import held
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake

RECENT = "INTERVAL 1 DAY"  # before the latest row: where rows of one key still come in
CONSOLIDATED = "consolidate:0"  # the mark of the commits that only put rows together


class SummariseBatch:
    """Adds one batch of decisions to the aggregates; called by Spark with each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard) -> None:
        self._lake = lake
        self._guard = guard

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Add the batch's increments to each aggregate that does not have them yet."""
        with held(batch.select(*NEEDED).coalesce(1)) as decisions:
            if batch_id > 0 and decisions.isEmpty():
                return
            for table, increments in INCREMENTS.items():
                if self._guard.written(table, batch_id) is None:
                    self._add(decisions.transform(increments), table, batch_id)

    def _add(self, increments: DataFrame, table: Table, batch_id: int) -> None:
        mark = self._guard.mark(batch_id)
        if batch_id == 0 and not self._lake.read(table).isEmpty():
            self._lake.replace(increments, table, F.lit(col=True), mark)
        else:
            self._lake.append(increments, table, mark)


def consolidate(lake: Lake, table: Table) -> None:
    """Put the recent rows of an aggregate together that have the same key; what it counts stays the same.

    Rows further back are left as they are, so that the cost is that of a day. A batch that is added at the same time
    wins: then nothing is done.
    """
    rows = lake.read(table)
    # As text by Spark: Python would turn a timestamp into the machine's own time zone.
    latest = rows.agg((F.max(TIME[table]) - F.expr(RECENT)).cast("string")).first()
    if latest is None or latest[0] is None:
        return
    recent = F.col(TIME[table]) >= F.lit(latest[0]).cast(rows.schema[TIME[table]].dataType)
    counted = rows.where(recent).agg(F.count("*"), F.count_distinct(F.struct(*KEYS[table]))).first()
    if counted is not None and counted[0] > counted[1]:
        with suppress(ConcurrentAppendException):
            replace_consolidated(lake, table, recent, CONSOLIDATED)


def replace_consolidated(
    lake: Lake, table: Table, which: Column, mark: str, increments: DataFrame | None = None
) -> None:
    """Put the rows of an aggregate together that meet a condition, and increments of the same keys, in one commit."""
    rows = lake.read(table).where(which)
    added = rows if increments is None else rows.unionByName(increments)
    lake.replace(added.transform(consolidated, table), table, which, mark)
