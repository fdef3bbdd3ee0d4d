"""The refine query: bronze.complaints to silver, each row written exactly once across six tables.

Reads bronze.complaints as a stream; writes silver.complaints, narratives, outcomes, quarantine, duplicates and
expectations. Duplicates are looked up within the batch's complaint id range, so the cost depends only on the batch.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC
from functools import partial, reduce

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from lakehouse.spark.held import held
from lakehouse.spark.per_batch import stamped
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import USER_METADATA, Lake
from silver import routing
from silver.expectations import Expectation, broken_counts
from silver.known_rows import PLACES
from silver.outcomes import has_outcome, in_order, latest_outcomes, outcomes
from silver.tables import COMPLAINTS, DUPLICATES, EXPECTATIONS, NARRATIVES, OUTCOMES, QUARANTINE
from streaming.queries.partial_batches import Completion, merge_outcomes


class RefineBatch:
    """Writes one batch of refined rows; Spark calls it for each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard, query_id: str, expectations: tuple[Expectation, ...]) -> None:
        self._lake = lake
        self._guard = guard
        self._query_id = query_id
        self._expectations = expectations
        self._highest_id: int | None = None
        self._landed_until: int | None = None  # microseconds; rows that landed later are in no table
        self._summary = [*_summary(), *broken_counts(expectations)]
        self._without_repeats = [(table, n, planned(step, lake.settings)) for table, n, step in _WITHOUT_REPEATS]
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="refine")

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Route the batch's rows and write them, with at most one commit per table."""
        with held(stamped(batch, "refined_at")) as rows:
            summary = rows.agg(*self._summary).first()
            if summary is not None and summary["rows"]:
                rows.sparkSession.conf.set(USER_METADATA, self._guard.mark(batch_id))
                write = self._write_missing if self._may_be_written(summary) else self._write
                write(rows, summary, batch_id)
                if self._highest_id is not None:
                    self._highest_id = max(self._highest_id, summary["highest"] or 0)

    def _may_be_written(self, summary: Row) -> bool:
        """Whether silver may already have rows of the batch.

        For the first batch after a start: whether silver has any rows. Later: whether a row landed no later than the
        newest one silver had at the start. Only the first batch reads the tables.
        """
        if self._landed_until is not None:
            return bool(summary["landed_first"] <= self._landed_until)
        since = F.col("ingested_at") >= F.timestamp_micros(F.lit(summary["landed_first"]))
        landed = self._union(PLACES, lambda rows: rows.where(since).select(F.unix_micros("ingested_at").alias("at")))
        last = landed.agg(F.max("at")).first()
        self._landed_until = max(summary["landed_first"] - 1, (last and last[0]) or 0)
        return not self._union(
            (*PLACES, NARRATIVES, OUTCOMES), lambda rows: rows.select("record_id").limit(1)
        ).isEmpty()

    def _union(self, tables: Iterable[Table], step: Step) -> DataFrame:
        return reduce(DataFrame.unionByName, (self._lake.read(table).transform(step) for table in tables))

    def _write_missing(self, rows: DataFrame, summary: Row, batch_id: int) -> None:
        """Write the rows of the batch that silver is missing."""
        mark, spark = self._guard.mark(batch_id), rows.sparkSession
        before = {table: self._guard.written(table, batch_id) for table in _WRITTEN}
        within = f"ingested_at BETWEEN timestamp_micros({summary['landed_first']}) AND "
        within += f"timestamp_micros({summary['landed_last']})"
        with Completion(self._lake, rows, within, before[OUTCOMES]) as completion:
            # Broken rules are counted per batch: all rows if this query began it, otherwise only the rows written now.
            was_started = any(version is not None for version in before.values())
            counted = summary if was_started else completion.missing.agg(*self._summary).first()
            jobs = completion.jobs(mark)
            if counted and counted["broken"] and before[EXPECTATIONS] is None:
                jobs.append(_append_job(self._lake, self._broken(spark, counted, batch_id), EXPECTATIONS, mark))
            _run_all(self._pool, jobs)

    def _write(self, rows: DataFrame, summary: Row, batch_id: int) -> None:
        """Write a batch of which silver has no rows."""
        spark = rows.sparkSession
        mark = self._guard.mark(batch_id)
        stored = _Stored(self._lake, spark, summary)
        jobs: dict[Table, Callable[[], None]] = {}
        if summary["broken"]:
            jobs[EXPECTATIONS] = _append_job(self._lake, self._broken(spark, summary, batch_id), EXPECTATIONS, mark)
        with ExitStack() as stack:
            if self._may_repeat(stored, summary):
                jobs |= self._with_repeats(in_order(rows), stored, mark, stack)
            else:
                for table, count, frame in self._without_repeats:
                    if summary[count]:
                        jobs[table] = _append_job(self._lake, frame(rows), table, mark)
            _run_all(self._pool, jobs.values())

    def _may_repeat(self, stored: "_Stored", summary: Row) -> bool:
        """Whether a complaint id may be known or occur twice in the batch; usually needs no table read."""
        if self._highest_id is None:
            self._highest_id = stored.highest_id()
        inside = summary["usable"] > summary["distinct_ids"] or summary["bare"] > 0
        return inside or (summary["lowest"] is not None and summary["lowest"] <= self._highest_id)

    def _with_repeats(
        self, rows: DataFrame, stored: "_Stored", mark: str, stack: ExitStack
    ) -> dict[Table, Callable[[], None]]:
        ids = rows.select("complaint_id").where("complaint_id IS NOT NULL").distinct()
        known = {table: stored.read(table).join(F.broadcast(ids), "complaint_id", "left_semi") for table in _COMPARED}
        # Route once, before the first commit: a DataFrame reads the table's state at execution time, so one that runs
        # after another's commit would treat this batch's own rows as known.
        routed_rows = stack.enter_context(
            held(routing.routed(rows, known[COMPLAINTS], known[NARRATIVES], known[OUTCOMES]))
        )
        counts = routed_rows.agg(*_rows_per_table()).first()
        frames = {
            COMPLAINTS: routing.complaints(routed_rows),
            DUPLICATES: routing.duplicates(routed_rows),
            QUARANTINE: routing.quarantine(routed_rows),
            NARRATIVES: routing.late_narratives(routed_rows),
        }
        jobs = {t: _append_job(self._lake, frame, t, mark) for t, frame in frames.items() if counts and counts[t.name]}
        if counts and counts[OUTCOMES.name]:
            usable = routed_rows.where(routing.ACCEPTED)
            latest = latest_outcomes(usable, known[OUTCOMES], self._lake.settings.silver.successful_resolution)
            jobs[OUTCOMES] = partial(merge_outcomes, self._lake, latest, stored.near)
        return jobs

    def _broken(self, spark: SparkSession, summary: Row, batch_id: int) -> DataFrame:
        counts = [
            {
                "query_id": self._query_id,
                "batch_id": batch_id,
                "rule": rule.id,
                "field": rule.field,
                "severity": rule.severity,
                "checked": summary["rows"],
                "broken": summary[rule.id],
                "refined_at": summary["refined_at"].astimezone(UTC),
            }
            for rule in self._expectations
            if summary[rule.id]
        ]
        return self._lake.frame(counts, EXPECTATIONS, spark=spark)


_WRITTEN = (COMPLAINTS, NARRATIVES, OUTCOMES, QUARANTINE, DUPLICATES, EXPECTATIONS)
_COMPARED = (COMPLAINTS, NARRATIVES, OUTCOMES)


class _Stored:
    """What silver has before this batch."""

    def __init__(self, lake: Lake, spark: SparkSession, summary: Row) -> None:
        self._lake, self._spark, self._summary = lake, spark, summary

    def read(self, table: Table) -> DataFrame:
        """Return rows whose complaint id is in the batch's range; file statistics skip the other files."""
        return self._lake.read(table, spark=self._spark).where(self.near)

    @property
    def near(self) -> str:
        """The batch's range of complaint ids, as SQL."""
        return f"complaint_id BETWEEN {self._summary['lowest'] or 0:d} AND {self._summary['highest'] or 0:d}"

    def highest_id(self) -> int:
        """Return the highest known complaint id, or 0 if there is none."""
        row = self._lake.read(COMPLAINTS, spark=self._spark).agg(F.max("complaint_id")).first()
        return int(row[0] or 0) if row else 0


def _summary() -> list[Column]:
    usable, refused = F.expr(routing.USABLE), F.expr(routing.REFUSED)
    candidate = F.when(~refused, F.col("complaint_id"))
    broken = refused | F.col("bare_narrative") | (F.size("warnings") > 0)
    return [
        F.count("*").alias("rows"),
        F.count(F.when(usable, 1)).alias("usable"),
        F.count(F.when(refused, 1)).alias("refused"),
        F.count(F.when(F.col("bare_narrative"), 1)).alias("bare"),
        F.count(F.when(usable & has_outcome(), 1)).alias("with_outcome"),
        F.count(F.when(broken, 1)).alias("broken"),
        F.size(F.collect_set(F.when(usable, F.col("complaint_id")))).alias("distinct_ids"),
        F.min(candidate).alias("lowest"),
        F.max(candidate).alias("highest"),
        F.max("refined_at").alias("refined_at"),
        F.unix_micros(F.min("ingested_at")).alias("landed_first"),
        F.unix_micros(F.max("ingested_at")).alias("landed_last"),
    ]


def _rows_per_table() -> list[Column]:
    """Return the row count per table of routed rows, so that a table without rows gets no commit."""
    return [F.count(F.when(F.expr(condition), 1)).alias(table.name) for table, condition in routing.ROWS_OF.items()]


# Tables of a batch without repeats, with the summary column that counts their rows; a count of 0 makes no commit.
_WITHOUT_REPEATS: tuple[tuple[Table, str, Step], ...] = (
    (COMPLAINTS, "usable", lambda rows: routing.complaints(routing.routed_without_repeats(rows))),
    (QUARANTINE, "refused", lambda rows: routing.quarantine(routing.routed_without_repeats(rows))),
    (
        OUTCOMES,
        "with_outcome",
        lambda rows: outcomes(routing.routed_without_repeats(rows).where(routing.ROWS_OF[COMPLAINTS])),
    ),
)


def _append_job(lake: Lake, frame: DataFrame, table: Table, mark: str) -> Callable[[], None]:
    return lambda: lake.append(frame, table, mark)


def _run_all(pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], None]]) -> None:
    """Run the jobs in parallel, wait for all, then raise the first failure."""
    futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.exception()
    for future in futures:
        future.result()
