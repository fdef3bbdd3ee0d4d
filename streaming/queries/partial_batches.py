"""A batch of the refining query that silver may have in part: what is missing is written, and nothing else.

So it is with the first batch of a start, which may have been cut off between two tables, and with rows that are read
again, as from a checkpoint that was moved away. Marks only help to tell what silver knew before; whether a row is there
is told by the rows.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Self

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.spark.held import held
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver import routing
from silver.known_rows import PLACES, is_nowhere, not_applied, placed
from silver.outcomes import in_order, latest_outcomes
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOMES, QUARANTINE


class Completion:
    """One batch against what silver has of it; a context manager that holds its rows.

    Args:
        lake: the lake.
        rows: the batch's refined rows.
        within: when they landed, as SQL over `ingested_at`: the tables' statistics leave out files beside it.
        outcomes_at: the version of silver.outcomes that has the batch's own commit; None = it has none yet.
    """

    def __init__(self, lake: Lake, rows: DataFrame, within: str, outcomes_at: int | None) -> None:
        self._lake = lake
        self._spark = rows.sparkSession
        self._stack = ExitStack()
        self._before = None if outcomes_at is None else outcomes_at - 1
        step = placed(*(self._read(table).where(within) for table in PLACES))
        self._rows = self._stack.enter_context(held(in_order(rows).transform(step)))
        self._ids = self._rows.select("complaint_id").where("complaint_id IS NOT NULL").distinct()
        bounds = self._ids.agg(F.min("complaint_id").alias("low"), F.max("complaint_id").alias("high")).first()
        low, high = (bounds["low"] or 0, bounds["high"] or 0) if bounds else (0, 0)
        self._near = f"complaint_id BETWEEN {low:d} AND {high:d}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def missing(self) -> DataFrame:
        """The rows that were in no table when this began."""
        return self._rows.where(is_nowhere())

    def jobs(self, mark: str) -> list[Callable[[], None]]:
        """What writes the missing rows, a job a table, in commits that carry the mark."""
        sorted_rows = self._stack.enter_context(held(self._sorted()))
        sorted_rows.count()  # sorted out before the first commit: what is read afterwards would hold this batch's rows
        new = sorted_rows.where(is_nowhere())
        late = routing.late_narratives(sorted_rows).join(self._known(NARRATIVES), "complaint_id", "left_anti")
        frames = {
            COMPLAINTS: routing.complaints(new),
            DUPLICATES: routing.duplicates(new),
            QUARANTINE: routing.quarantine(new),
            NARRATIVES: late,
        }
        appending = [partial(self._append, rows, table, mark) for table, rows in frames.items()]
        return [*appending, partial(self._merge, sorted_rows.where("destination <> 'quarantine'"))]

    def _sorted(self) -> DataFrame:
        """The rows sorted out by what silver knew without them."""
        own = self._rows.select("record_id")
        complaints, narratives = (
            self._known(table).join(own, "record_id", "left_anti") for table in (COMPLAINTS, NARRATIVES)
        )
        return routing.routed(self._rows, complaints, narratives, self._known(OUTCOMES, self._before))

    def _known(self, table: Table, version: int | None = None) -> DataFrame:
        """A table's rows of these complaints."""
        return self._read(table, version).where(self._near).join(F.broadcast(self._ids), "complaint_id", "left_semi")

    def _read(self, table: Table, version: int | None = None) -> DataFrame:
        return self._lake.read(table, version=version, spark=self._spark)

    def _merge(self, usable: DataFrame) -> None:
        stored = self._known(OUTCOMES)
        successful = self._lake.settings.silver.successful_resolution
        with held(latest_outcomes(not_applied(usable, stored), stored, successful)) as latest:
            if not latest.isEmpty():
                merge_outcomes(self._lake, latest, self._near)

    def _append(self, rows: DataFrame, table: Table, mark: str) -> None:
        with held(rows) as kept:
            if not kept.isEmpty():
                self._lake.append(kept, table, mark)


def merge_outcomes(lake: Lake, latest: DataFrame, near: str) -> None:
    """Put outcomes into silver.outcomes, one a complaint; `near` is the range of their numbers, as SQL."""
    (
        lake.delta(OUTCOMES, latest.sparkSession)
        .alias("t")
        .merge(latest.alias("s"), f"t.{near} AND t.complaint_id = s.complaint_id")
        .whenMatchedUpdateAll()
        .whenNotMatchedInsertAll()
        .execute()
    )
