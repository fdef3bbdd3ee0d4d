"""The refine query: bronze.complaints to silver, each row written exactly once.

Reads bronze.complaints as a stream; appends to silver.complaints, revisions, narratives, outcome_reports, quarantine,
duplicates and expectations. A batch is compared with what silver knows in memory, so its cost does not depend on the
tables.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyspark.sql import DataFrame

from lakehouse.spark.arrow import arrow
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import per_batch
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import USER_METADATA, Lake
from silver import routing
from silver.expectations import Expectation
from silver.keys import keys
from silver.known_complaints import NOTHING_WRITTEN, KnownComplaints, Verdict, Written
from silver.tables import COMPLAINTS, DUPLICATES, EXPECTATIONS, NARRATIVES, OUTCOME_REPORTS, QUARANTINE, REVISIONS
from streaming.queries.stored_rows import StoredRows

STEPS: dict[Table, Step] = {
    COMPLAINTS: routing.complaints,
    DUPLICATES: routing.duplicates,
    QUARANTINE: routing.quarantine,
    REVISIONS: routing.revisions,
    NARRATIVES: routing.late_narratives,
    OUTCOME_REPORTS: routing.reports,
}


class RefineBatch:
    """Writes one batch of refined rows; Spark calls it for each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard, query_id: str, expectations: tuple[Expectation, ...]) -> None:
        self._lake = lake
        self._guard = guard
        self._query_id = query_id
        self._expectations = expectations
        self._stored = StoredRows(lake)
        self._known: KnownComplaints | None = None
        self._keys = planned(keys, lake.settings)
        self._routed = planned(routing.routed, lake.settings)
        self._steps = {table: planned(step, lake.settings) for table, step in STEPS.items()}
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="refine")

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Route the batch's rows and write them, with at most one commit per table."""
        refined_at = datetime.now(UTC)
        with held(batch.withColumn("refined_at", per_batch(refined_at, "record_id"))) as rows:
            found = arrow(self._keys(rows))  # bounded: a batch's ids, hashes and broken rules; no text
            if found.num_rows:
                rows.sparkSession.conf.set(USER_METADATA, self._guard.mark(batch_id))
                self._write(*_once(rows, found), batch_id, refined_at)

    def _write(self, rows: DataFrame, found: pa.Table, batch_id: int, refined_at: datetime) -> None:
        spark, mark = rows.sparkSession, self._guard.mark(batch_id)
        may_be_written = self._stored.may_have(found, spark)
        written = self._stored.written(found, spark) if may_be_written else NOTHING_WRITTEN
        if self._known is None:
            self._known = self._stored.known(found, written, spark) if may_be_written else KnownComplaints()
        is_counted = self._guard.written(EXPECTATIONS, batch_id) is not None
        verdicts = self._known.judge(found, written)
        counts = _rows_per_table(found, verdicts)
        jobs: list[Callable[[], None]] = []
        if broken := [] if is_counted else self._broken(found, written, batch_id, refined_at):
            frame = self._lake.frame(broken, EXPECTATIONS, spark=spark)
            jobs.append(_append_job(self._lake, frame, EXPECTATIONS, mark))
        with held(self._routed(rows, routing.verdict_frame(spark, verdicts))) as routed:
            for table, step in self._steps.items():
                if counts[table]:
                    jobs.append(_append_job(self._lake, step(routed), table, mark))
            _run_all(self._pool, jobs)
        self._stored.added(self._known, counts, refined_at)

    def _broken(
        self, found: pa.Table, written: Written, batch_id: int, refined_at: datetime
    ) -> list[dict[str, object]]:
        """Return how many rows broke each rule: all rows if this query began the batch, else those written now."""
        if written.places and all(self._guard.written(table, batch_id) is None for table in STEPS):
            found = found.filter(pa.array([record not in written.places for record in found["record_id"].to_pylist()]))
        broken = Counter[str]()
        for name in ("reasons", "warnings"):
            broken.update(found[name].combine_chunks().flatten().to_pylist())
        return [
            {
                "query_id": self._query_id,
                "batch_id": batch_id,
                "rule": rule.id,
                "field": rule.field,
                "severity": rule.severity,
                "checked": found.num_rows,
                "broken": broken[rule.id],
                "refined_at": refined_at,
            }
            for rule in self._expectations
            if broken[rule.id]
        ]


def _once(rows: DataFrame, found: pa.Table) -> tuple[DataFrame, pa.Table]:
    """Return the rows and their keys without those that bronze has twice, which must not be there."""
    if compute.count_distinct(found["record_id"]).as_py() == found.num_rows:
        return rows, found
    distinct = rows.dropDuplicates(["record_id"])
    return distinct, arrow(keys(distinct))


def _rows_per_table(found: pa.Table, verdicts: Sequence[Verdict]) -> Counter[Table]:
    """Return the number of rows per table, so that a table without rows gets no commit."""
    counts = Counter[Table]()
    for verdict in verdicts:
        if not verdict.is_placed:
            counts[routing.PLACES[verdict.destination]] += 1
        counts[REVISIONS] += verdict.brings_revision
        counts[NARRATIVES] += verdict.brings_narrative
        counts[OUTCOME_REPORTS] += verdict.brings_outcome
    judged = {verdict.record_id for verdict in verdicts}
    is_new = np.array([record not in judged for record in found["record_id"].to_pylist()], bool)
    is_usable = is_new & found["is_usable"].to_numpy()
    counts[COMPLAINTS] += int(is_usable.sum())
    counts[OUTCOME_REPORTS] += int((is_usable & found["has_outcome"].to_numpy()).sum())
    counts[QUARANTINE] += int((is_new & ~is_usable).sum())
    return counts


def _append_job(lake: Lake, frame: DataFrame, table: Table, mark: str) -> Callable[[], None]:
    return lambda: lake.append(frame, table, mark)


def _run_all(pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], None]]) -> None:
    """Run the jobs in parallel, wait for all, then raise the first failure."""
    futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.exception()
    for future in futures:
        future.result()
