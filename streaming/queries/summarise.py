"""The summarise query: gold.decisions to aggregates, off the hot path, each batch exactly once.

A sum doesn't record which batches it contains. So the first batch of a new query replaces the aggregates, and the query
reads all decisions from the beginning.
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

RECENT = "INTERVAL 1 DAY"  # before the latest row: the range in which keys still get new rows
CONSOLIDATED = "consolidate:0"  # mark of commits that only combine rows


class SummariseBatch:
    """Adds one batch of decisions to the aggregates; Spark calls it for each batch of the query."""

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
    """Combine recent rows of an aggregate that have the same key; the totals stay the same.

    Older rows are not touched, so the cost is that of one day. If a batch is added at the same time, the batch wins and
    nothing is done.
    """
    rows = lake.read(table)
    # As text from Spark: Python would convert a timestamp to the machine's time zone.
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
    """Combine aggregate rows that match a condition with increments of the same keys, in one commit."""
    rows = lake.read(table).where(which)
    added = rows if increments is None else rows.unionByName(increments)
    lake.replace(added.transform(consolidated, table), table, which, mark)
