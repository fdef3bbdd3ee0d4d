"""Test sets are later than training sets in each feed, copies of a text stay together, and a seed repeats a split."""

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings, load_settings
from ml.data.examples import feed
from ml.data.split import CALIBRATE, FIT, TEST, cuts_of, fold, parted

FIRST = date(2023, 1, 1)
COLUMNS = "complaint_id bigint, source string, date_received date, narrative string, label double"


@pytest.fixture(scope="module")
def ml() -> MlSettings:
    return load_settings().ml


def complaints(spark: SparkSession, days: list[int], texts: list[str | None], source: str = "a file") -> DataFrame:
    rows = [
        (number, source, FIRST + timedelta(days=day), text, float(number % 2))
        for number, (day, text) in enumerate(zip(days, texts, strict=True))
    ]
    return spark.createDataFrame(rows, COLUMNS)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=8, max_size=60))
def test_no_part_has_a_day_of_a_later_part_unless_a_part_would_be_empty(
    spark: SparkSession, ml: MlSettings, days: list[int]
) -> None:
    rows = parted(complaints(spark, days, [None] * len(days)), ml).collect()
    assert sorted(row.date_received for row in rows) == sorted(FIRST + timedelta(days=day) for day in days)
    of = {part: [row.date_received for row in rows if row.part == part] for part in (FIT, CALIBRATE, TEST)}
    assert of[FIT]
    assert of[TEST]
    earlier = {day: sum(other < day for other in days) / (len(days) - 1) for day in days}
    calibrate_from = (1 - ml.test_share) * (1 - ml.calibration_share)
    whole = all(
        any(low <= place < high for place in earlier.values())
        for low, high in ((calibrate_from, 1 - ml.test_share), (1 - ml.test_share, 1.1))
    )
    for before, after in ((FIT, CALIBRATE), (CALIBRATE, TEST), (FIT, TEST)):
        if of[before] and of[after]:
            assert max(of[before]) < min(of[after]) if whole else max(of[before]) <= min(of[after])
    assert len(of[TEST]) <= len(days) * ml.test_share + 1


def test_a_feed_of_one_day_is_split_by_a_hash_the_same_in_any_order(spark: SparkSession, ml: MlSettings) -> None:
    one_day = complaints(spark, [5] * 40, [None] * 40)
    a_large_last_day = complaints(spark, [5] * 8 + [6] * 32, [None] * 40, "another")
    a_large_last_day = a_large_last_day.withColumn("complaint_id", F.col("complaint_id") + 100)
    rows = one_day.unionByName(a_large_last_day)
    found, again = (
        {(row.source, row.complaint_id): row.part for row in parted(frame, ml).collect()}
        for frame in (rows, rows.orderBy(F.rand(1)).repartition(3))
    )
    assert found == again
    for source in ("a file", "another"):
        parts = [part for (of, _), part in found.items() if of == source]
        assert [parts.count(part) for part in (FIT, CALIBRATE, TEST)] == [25, 5, 10]
    assert cuts_of(parted(rows, ml)) == {"a file": FIRST + timedelta(days=5), "another": FIRST + timedelta(days=6)}


def test_each_feed_is_split_separately(spark: SparkSession, ml: MlSettings) -> None:
    old = complaints(spark, list(range(40)), [None] * 40, "old")
    new = complaints(spark, list(range(1000, 1040)), [None] * 40, "new")
    parts = parted(old.unionByName(new), ml)
    assert {row.source for row in parts.where(F.col("part") == TEST).collect()} == {"old", "new"}
    assert cuts_of(parts) == {"old": FIRST + timedelta(days=30), "new": FIRST + timedelta(days=1030)}


def test_files_by_day_are_one_feed_that_is_split_by_day(spark: SparkSession, ml: MlSettings) -> None:
    days = [day for day in range(25) for _ in range(8)]
    rows = complaints(spark, days, [None] * len(days)).withColumn(
        "source", F.format_string("%016x:%s.csv", F.dayofmonth("date_received"), F.col("date_received").cast("string"))
    )
    found = parted(rows, ml).collect()
    of = {part: {row.date_received.day for row in found if row.part == part} for part in (FIT, CALIBRATE, TEST)}
    assert of == {FIT: set(range(1, 17)), CALIBRATE: {17, 18, 19}, TEST: set(range(20, 26))}
    assert {row.feed for row in found} == {".csv"}


def test_a_feed_is_the_topic_or_all_files_whose_names_differ_in_numbers(spark: SparkSession) -> None:
    expected = {
        "complaints-input": "complaints-input",
        "complaints-2": "complaints-2",  # a topic
        "a3f07b3c15e41954:complaints-2024-10-01_11_35.csv": "complaints.csv",
        "487b6b3978da27c8:complaints.csv": "complaints.csv",
        "487b6b3978da27c9:complaints (2).csv.gz": "complaints.csv",
        "487b6b3978da27c8:Complaints_2Q2023.csv": "complaints.csv",
        "487b6b3978da27c8:part-00000-3f2a1b2c-1234-abcd-9876-ffeeddccbbaa-c000.csv": "part.csv",
        "487b6b3978da27c8:export-2014-structured.csv.gz": "export-structured.csv",
        "487b6b3978da27c8:export-2015-narratives.json.gz": "export-narratives.json",
        "487b6b3978da27c8:2024.zip/complaints-1.csv": ".zip/complaints.csv",
    }
    rows = spark.createDataFrame([(source,) for source in expected], "source string")
    assert {row.source: row.feed for row in rows.withColumn("feed", feed()).collect()} == expected


def test_copies_of_one_narrative_are_never_in_two_parts(spark: SparkSession, ml: MlSettings) -> None:
    texts: list[str | None] = [f"text of its own {'abcdefghij'[n // 4]}{'klmn'[n % 4]}" for n in range(40)]
    texts[3], texts[39] = "They took {$20.00} on XX/XX/2023!", "they TOOK {$999.00}   on XX/XX/2021"
    rows = complaints(spark, list(range(40)), texts)
    parts = {row.complaint_id: row for row in parted(rows, ml).collect()}
    assert set(range(40)) - set(parts) == {3}
    assert parts[39].part == TEST
    kept = parted(rows, ml).where(F.col("part") != TEST)
    for number in range(ml.folds):
        earlier, later = fold(kept, number, ml.folds)
        assert max(r.date_received for r in earlier.collect()) < min(r.date_received for r in later.collect())
        assert not {r.key for r in earlier.collect()} & {r.key for r in later.collect()}


def test_a_random_split_is_the_same_for_the_same_seed_and_keeps_copies_together(spark: SparkSession) -> None:
    random = load_settings(ml={"split": "random"}).ml
    texts: list[str | None] = [f"the text {'abcde'[n % 5]}" if n % 2 else None for n in range(200)]
    rows = complaints(spark, list(range(200)), texts)
    parts = parted(rows, random)
    test = {row.complaint_id for row in parts.where(F.col("part") == TEST).collect()}
    assert parts.count() == 200  # no row is dropped: copies fall into the same part
    assert 20 < len(test) < 80
