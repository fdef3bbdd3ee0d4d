"""The refining query: bronze.complaints to silver, each row written exactly once over six tables.

Reads bronze.complaints as a stream; writes silver.complaints, narratives, outcomes, quarantine, duplicates and
expectations. A batch's repeats are found by the range of its complaint ids, so that the cost is the batch's own.
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
    """Writes one batch of refined rows; called by Spark with each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard, query_id: str, expectations: tuple[Expectation, ...]) -> None:
        self._lake = lake
        self._guard = guard
        self._query_id = query_id
        self._expectations = expectations
        self._highest_id: int | None = None
        self._landed_until: int | None = None  # microseconds: what landed later is in no table
        self._summary = [*_summary(), *broken_counts(expectations)]
        self._without_repeats = [(table, came, planned(step, lake.settings)) for table, came, step in _WITHOUT_REPEATS]
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="refine")

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Sort the batch's rows out and write them, each table at most once."""
        with held(stamped(batch, "refined_at")) as rows:
            summary = rows.agg(*self._summary).first()
            if summary is not None and summary["rows"]:
                rows.sparkSession.conf.set(USER_METADATA, self._guard.mark(batch_id))
                write = self._complete if self._may_be_there(summary) else self._write
                write(rows, summary, batch_id)
                if self._highest_id is not None:
                    self._highest_id = max(self._highest_id, summary["highest"] or 0)

    def _may_be_there(self, summary: Row) -> bool:
        """Whether silver may have rows of the batch: the first of a start, and what landed no later than what it has.

        It costs a batch nothing: only the first of a start looks into the tables.
        """
        if self._landed_until is not None:
            return bool(summary["landed_first"] <= self._landed_until)
        since = F.col("ingested_at") >= F.timestamp_micros(F.lit(summary["landed_first"]))
        landed = self._of_each(PLACES, lambda rows: rows.where(since).select(F.unix_micros("ingested_at").alias("at")))
        last = landed.agg(F.max("at")).first()
        self._landed_until = max(summary["landed_first"] - 1, (last and last[0]) or 0)
        return not self._of_each(
            (*PLACES, NARRATIVES, OUTCOMES), lambda rows: rows.select("record_id").limit(1)
        ).isEmpty()

    def _of_each(self, tables: Iterable[Table], step: Step) -> DataFrame:
        return reduce(DataFrame.unionByName, (self._lake.read(table).transform(step) for table in tables))

    def _complete(self, rows: DataFrame, summary: Row, batch_id: int) -> None:
        """Write what silver lacks of the batch."""
        mark, spark = self._guard.mark(batch_id), rows.sparkSession
        before = {table: self._guard.written(table, batch_id) for table in _WRITTEN}
        within = f"ingested_at BETWEEN timestamp_micros({summary['landed_first']}) AND "
        within += f"timestamp_micros({summary['landed_last']})"
        with Completion(self._lake, rows, within, before[OUTCOMES]) as completion:
            # Rules broken are counted a batch: of one that this query began, all rows; else those that come now.
            begun = any(version is not None for version in before.values())
            counted = summary if begun else completion.missing.agg(*self._summary).first()
            jobs = completion.jobs(mark)
            if counted and counted["broken"] and before[EXPECTATIONS] is None:
                jobs.append(_appending(self._lake, self._broken(spark, counted, batch_id), EXPECTATIONS, mark))
            _all_done(self._pool, jobs)

    def _write(self, rows: DataFrame, summary: Row, batch_id: int) -> None:
        """Write a batch of which silver has nothing."""
        spark = rows.sparkSession
        mark = self._guard.mark(batch_id)
        stored = _Stored(self._lake, spark, summary)
        jobs: dict[Table, Callable[[], None]] = {}
        if summary["broken"]:
            jobs[EXPECTATIONS] = _appending(self._lake, self._broken(spark, summary, batch_id), EXPECTATIONS, mark)
        with ExitStack() as holding:
            if self._may_repeat(stored, summary):
                jobs |= self._with_repeats(in_order(rows), stored, mark, holding)
            else:
                for table, came, frame in self._without_repeats:
                    if summary[came]:
                        jobs[table] = _appending(self._lake, frame(rows), table, mark)
            _all_done(self._pool, jobs.values())

    def _may_repeat(self, stored: "_Stored", summary: Row) -> bool:
        """Whether a complaint of the batch may be known or stand in it twice; without a look into the table mostly."""
        if self._highest_id is None:
            self._highest_id = stored.highest_id()
        inside = summary["usable"] > summary["distinct_ids"] or summary["bare"] > 0
        return inside or (summary["lowest"] is not None and summary["lowest"] <= self._highest_id)

    def _with_repeats(
        self, rows: DataFrame, stored: "_Stored", mark: str, holding: ExitStack
    ) -> dict[Table, Callable[[], None]]:
        ids = rows.select("complaint_id").where("complaint_id IS NOT NULL").distinct()
        known = {table: stored.read(table).join(F.broadcast(ids), "complaint_id", "left_semi") for table in _COMPARED}
        # Sorted out once, before the first commit: a frame reads a table as it is when it runs, so one that ran after
        # another's commit would take this batch's own rows for known ones.
        sorted_rows = holding.enter_context(
            held(routing.routed(rows, known[COMPLAINTS], known[NARRATIVES], known[OUTCOMES]))
        )
        counts = sorted_rows.agg(*_came()).first()
        frames = {
            COMPLAINTS: routing.complaints(sorted_rows),
            DUPLICATES: routing.duplicates(sorted_rows),
            QUARANTINE: routing.quarantine(sorted_rows),
            NARRATIVES: routing.late_narratives(sorted_rows),
        }
        jobs = {t: _appending(self._lake, frame, t, mark) for t, frame in frames.items() if counts and counts[t.name]}
        if counts and counts[OUTCOMES.name]:
            usable = sorted_rows.where("destination <> 'quarantine'")
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
    """What silver knows before this batch."""

    def __init__(self, lake: Lake, spark: SparkSession, summary: Row) -> None:
        self._lake, self._spark, self._summary = lake, spark, summary

    def read(self, table: Table) -> DataFrame:
        """Rows whose complaint id lies within the batch's range; the files' statistics leave the others out."""
        return self._lake.read(table, spark=self._spark).where(self.near)

    @property
    def near(self) -> str:
        """The batch's range of complaint ids, as SQL."""
        return f"complaint_id BETWEEN {self._summary['lowest'] or 0:d} AND {self._summary['highest'] or 0:d}"

    def highest_id(self) -> int:
        """The highest complaint id known, 0 when there is none."""
        row = self._lake.read(COMPLAINTS, spark=self._spark).agg(F.max("complaint_id")).first()
        return int(row[0] or 0) if row else 0


def _summary() -> list[Column]:
    usable = (F.size("reasons") == 0) & ~F.col("bare_narrative")
    candidate = F.when(F.size("reasons") == 0, F.col("complaint_id"))
    broken = (F.size("reasons") > 0) | F.col("bare_narrative") | (F.size("warnings") > 0)
    return [
        F.count("*").alias("rows"),
        F.count(F.when(usable, 1)).alias("usable"),
        F.count(F.when(F.size("reasons") > 0, 1)).alias("refused"),
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


def _came() -> list[Column]:
    """What sorted rows bring to each table, so that an empty one costs no commit."""
    brings = {
        COMPLAINTS: F.col("destination") == "complaints",
        DUPLICATES: F.col("destination") == "duplicates",
        QUARANTINE: F.col("destination") == "quarantine",
        NARRATIVES: (F.col("destination") == "duplicates") & F.col("brings_narrative"),
        OUTCOMES: F.col("brings_outcome"),
    }
    return [F.count(F.when(condition, 1)).alias(table.name) for table, condition in brings.items()]


# What a batch in which nothing repeats brings to which table, when the summary counts any; no commit is made for none.
_WITHOUT_REPEATS: tuple[tuple[Table, str, Step], ...] = (
    (COMPLAINTS, "usable", lambda rows: routing.complaints(routing.routed_without_repeats(rows))),
    (QUARANTINE, "refused", lambda rows: routing.quarantine(routing.routed_without_repeats(rows))),
    (
        OUTCOMES,
        "with_outcome",
        lambda rows: outcomes(routing.routed_without_repeats(rows).where("destination = 'complaints'")),
    ),
)


def _appending(lake: Lake, frame: DataFrame, table: Table, mark: str) -> Callable[[], None]:
    return lambda: lake.append(frame, table, mark)


def _all_done(pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], None]]) -> None:
    """Run the jobs side by side and wait for all, then raise the first failure."""
    futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.exception()
    for future in futures:
        future.result()
