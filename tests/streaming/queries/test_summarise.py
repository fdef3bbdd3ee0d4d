"""The aggregates count each batch of decisions exactly once, however often it is run or killed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.spark.internals import jvm_of
from lakehouse.spark.priority import BACKGROUND
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from streaming.queries.definitions import Queries, Trigger
from streaming.queries.summarise import SummariseBatch, consolidate


@pytest.fixture(autouse=True)
def _far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a time zone far from UTC, which must not change any result."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Killed(BaseException):
    """Simulates the kill of the process."""


class KilledBetween(SummariseBatch):
    """Writes the first aggregate and is killed before the second."""

    def _add(self, increments: object, table: object, batch_id: int) -> None:
        if table is BY_DAY:
            raise Killed
        super()._add(increments, table, batch_id)  # type: ignore[arg-type]


def write_decisions(lake: Lake) -> None:
    """Write 60 decisions of one hour in three batches whose minutes overlap."""
    first = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)
    at = F.lit(first) + F.make_dt_interval(mins=F.col("id").cast("int"))
    values = {
        "complaint_id": F.col("id"),
        "date_received": F.lit("2024-03-04").cast("date"),
        "product_family": F.lit("Mortgage"),
        "probability": F.lit(0.25),
        "scored_with": F.lit("text"),
        "urgency": F.when(F.col("id") % 2 == 0, "high").otherwise("low"),
        "escalate": F.col("id") % 3 == 0,
        "team": F.lit("mortgage"),
        "recommended_action": F.lit("answer"),
        "model_name": F.lit("m"),
        "model_version": F.lit("1"),
        "record_id": F.concat(F.lit("complaints-input/0/"), F.col("id")),
        "kafka_timestamp": at,
        "ingested_at": at,
        "scored_at": at + F.make_dt_interval(secs=F.lit(2)),
        "batch_id": (F.col("id") + F.col("id") % 7) / 20,
    }
    rows = lake.spark.range(60).select(
        *(values.get(c.name, F.lit(None)).cast(c.type).alias(c.name) for c in DECISIONS.columns)
    )
    lake.append(rows, DECISIONS, "test:0")


def test_a_batch_counts_once_however_often_it_runs_and_wherever_it_is_killed(lake: Lake) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    decisions = lake.read(DECISIONS)
    batches = [decisions.where(F.col("batch_id") == batch) for batch in range(3)]
    SummariseBatch(lake, Guard(lake, "q"))(batches[0], 0)
    SummariseBatch(lake, Guard(lake, "q"))(batches[0], 0)  # run again, as after a restart
    with pytest.raises(Killed):
        KilledBetween(lake, Guard(lake, "q"))(batches[1], 1)
    restarted = SummariseBatch(lake, Guard(lake, "q"))
    restarted(batches[1], 1)
    restarted(decisions.where("batch_id > 1"), 2)
    restarted(decisions.where("false"), 3)
    for table in (BY_MINUTE, BY_DAY):
        consolidate(lake, table)
    by_minute, by_day = lake.read(BY_MINUTE), lake.read(BY_DAY)
    keys = by_minute.groupBy("minute", "product_family", "urgency").count()
    assert keys.where("count > 1").count() == 0
    assert totals(by_minute) == totals(by_day) == (60, 20, 30, 15.0)
    assert by_minute.count() == 60
    assert by_day.count() == 1
    measures = (F.sum("latency_ms_sum"), F.max("latency_ms_max"), F.max("scored_batch"))
    assert tuple(by_minute.agg(*measures).collect()[0]) == (120_000.0, 2000.0, 3)


def test_the_query_gives_way_to_those_that_new_complaints_wait_for(lake: Lake) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    query = Queries(lake).summarise(Trigger())
    try:
        query.processAllAvailable()
        threads = jvm_of(lake.spark).java.lang.Thread.getAllStackTraces().keySet().toArray()
        names = [thread.getName() for thread in threads]
        assert [name for name in names if name.startswith(f"{BACKGROUND}: stream execution thread for summarise")]
    finally:
        query.stop()


def test_batches_are_appended_and_their_recent_rows_are_consolidated_later(spark: SparkSession, lake: Lake) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    add = SummariseBatch(lake, Guard(lake, "q"))
    for batch, day in enumerate((4, 6)):
        at = F.lit(datetime(2024, 3, day, 23, 30, tzinfo=UTC))
        same_minute = lake.read(DECISIONS).withColumns({"kafka_timestamp": at, "date_received": at.cast("date")})
        add(same_minute.where("complaint_id < 30"), 2 * batch)
        add(same_minute.where("complaint_id >= 30"), 2 * batch + 1)
    assert [lake.read(table).count() for table in (BY_MINUTE, BY_DAY)] == [8, 4]
    for table in (BY_MINUTE, BY_DAY):
        before = totals(lake.read(table))
        consolidate(lake, table)
        assert totals(lake.read(table)) == before == (120, 40, 60, 30.0)
        version = lake.version(table)
        consolidate(lake, table)
        assert lake.version(table) == version, "there is nothing left to consolidate"
    recent = lake.read(BY_MINUTE).where("minute > '2024-03-05'").collect()
    assert {row.urgency: row.complaints for row in recent} == {"high": 30, "low": 30}
    assert [lake.read(table).count() for table in (BY_MINUTE, BY_DAY)] == [6, 3]


def test_batches_appended_during_consolidation_are_all_counted(lake: Lake) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    add, decisions = SummariseBatch(lake, Guard(lake, "q")), lake.read(DECISIONS)

    def add_all() -> None:
        for batch in range(12):
            add(decisions.where(F.col("complaint_id") % 12 == batch), batch)

    with ThreadPoolExecutor(1) as pool:
        added = pool.submit(add_all)
        rounds = 0
        while not added.done():
            consolidate(lake, BY_DAY)
            rounds += 1
        added.result()
    assert rounds > 1
    consolidate(lake, BY_DAY)
    assert totals(lake.read(BY_DAY)) == (60, 20, 30, 15.0)
    assert lake.read(BY_DAY).count() == 1


def totals(aggregate: object) -> tuple[object, ...]:
    """Return complaints, escalated, high and the sum of probabilities over all rows."""
    measures = ("complaints", "escalated", "high", "probability_sum")
    return tuple(aggregate.agg(*map(F.sum, measures)).collect()[0])  # type: ignore[attr-defined]
