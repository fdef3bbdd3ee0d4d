"""Test sets are later than training sets, copies of a text stay together, and a seed repeats a split."""

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings, load_settings
from ml.data.split import CALIBRATE, FIT, TEST, Rule, fold, parted, rule_of

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
@given(st.lists(st.integers(0, 40), min_size=4, max_size=60))
def test_no_part_has_a_day_of_a_later_part(spark: SparkSession, ml: MlSettings, days: list[int]) -> None:
    rows = parted(complaints(spark, days, [None] * len(days)), ml).collect()
    assert sorted(row.date_received for row in rows) == sorted(FIRST + timedelta(days=day) for day in days)
    of = {part: [row.date_received for row in rows if row.part == part] for part in (FIT, CALIBRATE, TEST)}
    for earlier, later in ((FIT, CALIBRATE), (CALIBRATE, TEST), (FIT, TEST)):
        assert not of[earlier] or not of[later] or max(of[earlier]) < min(of[later])
    assert len(of[TEST]) <= len(days) * ml.test_share + 1


def test_each_file_or_topic_is_split_separately_and_the_rule_finds_its_test_set(
    spark: SparkSession, ml: MlSettings
) -> None:
    old = complaints(spark, list(range(40)), [None] * 40, "old")
    new = complaints(spark, list(range(1000, 1040)), [None] * 40, "new")
    rows = old.unionByName(new)
    parts = parted(rows, ml)
    assert {row.source for row in parts.where(F.col("part") == TEST).collect()} == {"old", "new"}
    rule = Rule.from_json(rule_of(parts, ml).as_json())
    assert rule.since == {"old": FIRST + timedelta(days=30), "new": FIRST + timedelta(days=1030)}
    held = rows.where(rule.held_out())
    assert sorted((r.source, r.complaint_id) for r in held.collect()) == sorted(
        (r.source, r.complaint_id) for r in parts.where(F.col("part") == TEST).collect()
    )
    unseen = complaints(spark, [0, 1], [None, None], "another")
    assert unseen.where(rule.held_out()).count() == 2


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
    assert {r.complaint_id for r in rows.where(rule_of(parts, random).held_out()).collect()} == test
    assert 20 < len(test) < 80
