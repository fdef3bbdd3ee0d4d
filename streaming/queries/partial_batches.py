"""Complete a refine batch that silver may have in part: only the missing rows are written.

This applies to the first batch after a start, which may have stopped between two tables, and to rows that are read
again, for example after a checkpoint was moved away. Commit marks only show what silver knew before the batch; the rows
in the tables decide whether a row was written.
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
    """Compares one batch with the rows silver already has; a context manager that holds the batch's rows.

    Args:
        lake: the lake.
        rows: the batch's refined rows.
        within: SQL condition on `ingested_at` that covers the rows; file statistics skip files outside it.
        outcomes_at: version of silver.outcomes with the batch's own commit; None = not committed yet.
    """

    def __init__(self, lake: Lake, rows: DataFrame, within: str, outcomes_at: int | None) -> None:
        self._lake = lake
        self._spark = rows.sparkSession
        self._stack = ExitStack()
        self._before = None if outcomes_at is None else outcomes_at - 1
        step = placed(*(self._read(table).where(within) for table in PLACES))
        self._rows = in_order(rows).transform(step)
        self._near = ""

    def __enter__(self) -> Self:
        with self._stack as stack:  # if this fails, the rows are let go
            self._rows = stack.enter_context(held(self._rows))
            self._near = self._range()
            self._stack = stack.pop_all()
        return self

    def _range(self) -> str:
        """Return the SQL condition that covers the batch's complaint ids; file statistics skip files outside it."""
        bounds = self._ids.agg(F.min("complaint_id").alias("low"), F.max("complaint_id").alias("high")).first()
        low, high = (bounds["low"] or 0, bounds["high"] or 0) if bounds else (0, 0)
        return f"complaint_id BETWEEN {low:d} AND {high:d}"

    @property
    def _ids(self) -> DataFrame:
        return self._rows.select("complaint_id").where("complaint_id IS NOT NULL").distinct()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def missing(self) -> DataFrame:
        """The rows that were in no table at the start."""
        return self._rows.where(is_nowhere())

    def jobs(self, mark: str) -> list[Callable[[], None]]:
        """Return the write jobs for the missing rows, one per table; their commits carry the mark."""
        routed_rows = self._stack.enter_context(held(self._routed()))
        routed_rows.count()  # route before the first commit: later reads would include this batch's own rows
        new = routed_rows.where(is_nowhere())
        late = routing.late_narratives(routed_rows).join(self._known(NARRATIVES), "complaint_id", "left_anti")
        frames = {
            COMPLAINTS: routing.complaints(new),
            DUPLICATES: routing.duplicates(new),
            QUARANTINE: routing.quarantine(new),
            NARRATIVES: late,
        }
        appending = [partial(self._append, rows, table, mark) for table, rows in frames.items()]
        return [*appending, partial(self._merge, routed_rows.where(routing.ACCEPTED))]

    def _routed(self) -> DataFrame:
        """Return the rows routed against what silver knew before this batch."""
        own = self._rows.select("record_id")
        complaints, narratives = (
            self._known(table).join(own, "record_id", "left_anti") for table in (COMPLAINTS, NARRATIVES)
        )
        return routing.routed(self._rows, complaints, narratives, self._known(OUTCOMES, self._before))

    def _known(self, table: Table, version: int | None = None) -> DataFrame:
        """Return the table's rows for the batch's complaint ids."""
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
        with held(rows) as pending:
            if not pending.isEmpty():
                self._lake.append(pending, table, mark)


def merge_outcomes(lake: Lake, latest: DataFrame, near: str) -> None:
    """Merge outcomes into silver.outcomes, one row per complaint; `near` is the complaint id range as SQL."""
    (
        lake.delta(OUTCOMES, latest.sparkSession)
        .alias("t")
        .merge(latest.alias("s"), f"t.{near} AND t.complaint_id = s.complaint_id")
        .whenMatchedUpdateAll()
        .whenNotMatchedInsertAll()
        .execute()
    )
