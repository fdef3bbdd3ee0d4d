"""The aggregates hold each batch of decisions exactly once, however often it is run and wherever it was killed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.commits import Guard
from lakehouse.lake import Lake
from streaming.summarise import SummariseBatch


@pytest.fixture(autouse=True)
def _far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone must change nothing."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Killed(BaseException):
    """Stands for the kill of the process."""


class KilledBetween(SummariseBatch):
    """Writes the first aggregate and is killed before the second."""

    def _add(self, increments: object, table: object) -> None:
        if table is BY_DAY:
            raise Killed
        super()._add(increments, table)  # type: ignore[arg-type]


def write_decisions(lake: Lake) -> None:
    """60 decisions of one hour in three batches, each from an earlier minute into the next batch's."""
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


def test_a_batch_counts_once_however_often_it_runs_and_wherever_it_was_killed(lake: Lake) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    decisions = lake.read(DECISIONS)
    batches = [decisions.where(F.col("batch_id") == batch) for batch in range(3)]
    SummariseBatch(lake, Guard(lake, "q"))(batches[0], 0)
    SummariseBatch(lake, Guard(lake, "q"))(batches[0], 0)  # run again: the first batch of a new start
    with pytest.raises(Killed):
        KilledBetween(lake, Guard(lake, "q"))(batches[1], 1)
    restarted = SummariseBatch(lake, Guard(lake, "q"))
    restarted(batches[1], 1)
    restarted(decisions.where("batch_id > 1"), 2)
    restarted(decisions.where("false"), 3)
    by_minute, by_day = lake.read(BY_MINUTE), lake.read(BY_DAY)
    keys = by_minute.groupBy("minute", "product_family", "urgency").count()
    assert keys.where("count > 1").count() == 0
    assert totals(by_minute) == totals(by_day) == (60, 20, 30, 15.0)
    assert by_minute.count() == 60
    assert by_day.count() == 1
    measures = (F.sum("latency_ms_sum"), F.max("latency_ms_max"), F.max("scored_batch"))
    assert tuple(by_minute.agg(*measures).collect()[0]) == (120_000.0, 2000.0, 3)


def test_two_batches_meet_in_one_row(spark: SparkSession, lake: Lake) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    write_decisions(lake)
    same_minute = lake.read(DECISIONS).withColumn("kafka_timestamp", F.lit(datetime(2024, 3, 4, 23, 30, tzinfo=UTC)))
    add = SummariseBatch(lake, Guard(lake, "q"))
    add(same_minute.where("complaint_id < 30"), 0)
    add(same_minute.where("complaint_id >= 30"), 1)
    found = {row.urgency: row.complaints for row in lake.read(BY_MINUTE).collect()}
    assert found == {"high": 30, "low": 30}
    assert lake.read(BY_MINUTE).count() == 2


def totals(aggregate: object) -> tuple[object, ...]:
    """Complaints, escalated, high and the sum of probabilities over all rows."""
    measures = ("complaints", "escalated", "high", "probability_sum")
    return tuple(aggregate.agg(*map(F.sum, measures)).collect()[0])  # type: ignore[attr-defined]
