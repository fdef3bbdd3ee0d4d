"""Aggregates: what decisions add to them, however the decisions are split into batches."""

from datetime import UTC, date, datetime
from functools import reduce

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.aggregates import INCREMENTS, KEYS, NEEDED, TIME, by_day, by_minute, consolidated
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.tables.declaration import Table

NOON = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)


def decision(number: int, **values: object) -> dict[str, object]:
    """A row of gold.decisions; probabilities are binary fractions, so their sums are exact."""
    return {
        "complaint_id": number,
        "date_received": date(2024, 3, 4),
        "product_family": "Mortgage",
        "issue": "Servicing",
        "company": "A BANK",
        "state": "CA",
        "probability": 0.25,
        "scored_with": "text",
        "urgency": "low",
        "escalate": False,
        "team": "mortgage",
        "recommended_action": "answer",
        "model_name": "m",
        "model_version": "1",
        "record_id": f"complaints-input/0/{number}",
        "kafka_timestamp": NOON,
        "ingested_at": NOON,
        "scored_at": NOON.replace(second=2),
        "batch_id": 0,
        **values,
    }


def decisions(spark: SparkSession, *rows: dict[str, object]) -> DataFrame:
    return spark.createDataFrame([[row.get(name) for name in DECISIONS.column_names] for row in rows], DECISIONS.schema)


def test_a_minute_counts_what_arrived_in_it_by_product_and_urgency(spark: SparkSession) -> None:
    rows = decisions(
        spark,
        decision(1),
        decision(2, kafka_timestamp=NOON.replace(second=59), scored_at=NOON.replace(minute=1, second=4), escalate=True),
        decision(3, urgency="critical", scored_with="structure", probability=0.5),
        decision(4, kafka_timestamp=NOON.replace(minute=1), scored_at=NOON.replace(minute=1, second=1)),
    )
    found = {
        (r.minute_utc, r.urgency): (
            r.complaints,
            r.escalated,
            r.critical,
            r.high,
            r.without_text,
            r.probability_sum,
            r.latency_ms_sum,
            r.latency_ms_max,
        )
        for r in by_minute(rows).withColumn("minute_utc", F.col("minute").cast("string")).collect()
    }
    assert found == {
        ("2024-03-04 12:00:00", "low"): (2, 1, 0, 0, 0, 0.5, 7000.0, 5000.0),
        ("2024-03-04 12:00:00", "critical"): (1, 0, 1, 0, 1, 0.5, 2000.0, 2000.0),
        ("2024-03-04 12:01:00", "low"): (1, 0, 0, 0, 0, 0.25, 1000.0, 1000.0),
    }


def test_complaints_from_files_count_in_the_minute_they_landed_and_have_no_latency(spark: SparkSession) -> None:
    (row,) = by_minute(decisions(spark, decision(1, kafka_timestamp=None))).collect()
    assert (row.complaints, row.latency_ms_sum, row.latency_ms_max) == (1, 0.0, 0.0)


def test_a_day_counts_by_its_keys_and_missing_values_are_empty_strings(spark: SparkSession) -> None:
    rows = decisions(
        spark,
        decision(1),
        decision(2, urgency="high", escalate=True),
        decision(3, state=None, issue=None, company=None),
        decision(4, state=None, issue=None, company=None, date_received=date(2024, 3, 5)),
    )
    found = {
        (r.date_received.day, r.issue, r.company, r.state): (r.complaints, r.escalated, r.high)
        for r in by_day(rows).collect()
    }
    assert found == {
        (4, "Servicing", "A BANK", "CA"): (2, 1, 1),
        (4, "", "", ""): (1, 0, 0),
        (5, "", "", ""): (1, 0, 0),
    }


def in_batches(rows: DataFrame, table: Table) -> DataFrame:
    """The aggregate, merged from the increments of each batch."""
    batches = sorted(row.batch_id for row in rows.select("batch_id").distinct().collect())
    frames = [INCREMENTS[table](rows.where(F.col("batch_id") == batch)) for batch in batches]
    return reduce(DataFrame.unionByName, frames).transform(consolidated, table)


@pytest.mark.parametrize("table", [BY_MINUTE, BY_DAY], ids=lambda table: table.name)
def test_aggregates_do_not_depend_on_batches(spark: SparkSession, table: Table) -> None:
    """Any split of the decisions into batches gives the same result as one batch."""
    numbers = spark.range(300).select(
        F.col("id").alias("n"),
        *((F.abs(F.hash(F.col("id"), F.lit(salt))) % size).alias(name) for salt, (name, size) in enumerate(SPREAD)),
    )
    rows = (
        decisions(spark, decision(0))
        .drop(*CHANGED)
        .crossJoin(numbers)
        .selectExpr(*(f"{CHANGED.get(name, name)} AS {name}" for name in DECISIONS.column_names))
        .localCheckpoint()
    )
    assert rows.select("batch_id").distinct().count() == BATCHES
    at_once = INCREMENTS[table](rows.select(*NEEDED)).select(table.column_names)
    one_by_one = in_batches(rows, table).select(table.column_names)
    assert at_once.count() > BATCHES
    assert sorted(map(tuple, one_by_one.collect())) == sorted(map(tuple, at_once.collect()))


BATCHES = 4
SPREAD = (("batch", BATCHES), ("time", 200), ("kind", 4), ("place", 5), ("eighths", 9), ("took", 9000))
CHANGED = {
    "complaint_id": "n",
    "batch_id": "batch",
    "date_received": "date_add(DATE'2024-03-04', CAST(time % 3 AS INT))",
    "state": "element_at(array('CA', 'NY', NULL, 'TX', 'PR'), CAST(place + 1 AS INT))",
    "urgency": "element_at(array('low', 'medium', 'high', 'critical'), CAST(kind + 1 AS INT))",
    "escalate": "kind > 1",
    "scored_with": "IF(place % 2 = 0, 'text', 'structure')",
    "probability": "eighths / 8.0D",
    "kafka_timestamp": "TIMESTAMP'2024-03-04 12:00:00' + make_interval(0, 0, 0, 0, 0, 0, time)",
    "scored_at": "TIMESTAMP'2024-03-04 12:10:00' + make_interval(0, 0, 0, 0, 0, 0, took / 1000)",
}


@pytest.mark.parametrize("table", [BY_MINUTE, BY_DAY], ids=lambda table: table.name)
def test_a_key_whose_count_drops_to_zero_is_removed(spark: SparkSession, table: Table) -> None:
    increments = INCREMENTS[table](decisions(spark, decision(1), decision(2, state="NY", urgency="high")))
    taken = increments.where("high = 1").withColumns({"complaints": F.lit(-1), "high": F.lit(-1)})
    (row,) = increments.unionByName(taken).transform(consolidated, table).collect()
    assert (row.complaints, row.high) == (1, 0)


def test_every_key_and_time_column_exists_in_its_table() -> None:
    for table, keys in KEYS.items():
        assert {*keys, TIME[table]} <= set(table.column_names)
