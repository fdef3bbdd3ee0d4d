"""A version is judged on no complaint that it was fitted on, nor on a copy of one."""

import json
from datetime import date, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse.settings import MlSettings, load_settings
from ml.data.learned import BYTES, Learned, SplitRule, learned
from ml.data.split import TEST, parted

FIRST = date(2023, 1, 1)
COLUMNS = "complaint_id bigint, source string, date_received date, narrative string, label double"
Row = tuple[int, str, date, str | None, float]


@pytest.fixture(scope="module")
def ml() -> MlSettings:
    return load_settings().ml


def complaint(number: int, source: str, day: int, narrative: str | None = None) -> Row:
    return (number, source, FIRST + timedelta(days=day), narrative, float(number % 2))


KNOWN = [
    *(complaint(n, "topic", n) for n in range(1, 41)),
    *(complaint(n, "of one day", 7) for n in range(101, 141)),
    complaint(201, "topic", 2, "They took my money, twice, and never answered."),
    complaint(202, "topic", 3, "This letter came again at the end of the period."),
    complaint(203, "topic", 60, "This letter came AGAIN at the end of the period!"),
]
LATER = [
    complaint(301, "topic", 70),
    complaint(302, "topic", 1),  # earlier than the test set
    complaint(303, "unknown before", 1),
    complaint(304, "of one day", 7),
    complaint(305, "topic", 71, "they took my money -- twice -- and never answered"),
    complaint(306, "topic", 71, "this letter came again at the end of the period"),  # a copy of a tested one
]


def frame(spark: SparkSession, rows: list[Row]) -> DataFrame:
    return spark.createDataFrame(rows, COLUMNS)


def ids(rows: DataFrame) -> set[int]:
    return {row.complaint_id for row in rows.select("complaint_id").collect()}


@pytest.mark.parametrize("split", ["time", "random"])
def test_no_fitted_complaint_or_copy_is_judged(spark: SparkSession, split: str) -> None:
    known, everything = frame(spark, KNOWN), frame(spark, [*KNOWN, *LATER])
    parts = parted(known, load_settings(ml={"split": split}).ml).persist()
    tested, fitted = ids(parts.where(f"part = {TEST}")), ids(parts.where(f"part != {TEST}"))
    record = Learned.from_json(json.loads(learned(known, parts, split).as_json()))
    judged = ids(everything.transform(record.unseen))
    assert ids(everything.transform(record.fitted)) == fitted
    assert judged >= tested
    assert not judged & fitted
    if split == "time":
        assert 305 in ids(everything.transform(record.new))
        assert judged == tested | {301, 303, 304, 306}
        assert ids(everything.transform(record.apart)) == tested | {301, 302, 303, 304, 306}
    parts.unpersist()


def test_the_record_has_no_text_and_8_bytes_per_complaint_and_narrative(spark: SparkSession, ml: MlSettings) -> None:
    known = frame(spark, KNOWN)
    parts = parted(known, ml)
    text = learned(known, parts, "time").as_json()
    assert "money" not in text
    left = len(KNOWN) - parts.where(f"part = {TEST}").count()
    narratives = parts.where(f"part != {TEST} AND narrative IS NOT NULL").count()
    assert len(Learned.from_json(json.loads(text)).digests) == BYTES * (left + narratives)


def test_a_record_of_an_earlier_version_takes_what_it_does_not_name_for_fitted(spark: SparkSession) -> None:
    rule = {"split": "time", "test_share": 0.25, "seed": 1, "since": {"topic": "2023-01-31"}}
    record = SplitRule.from_json(json.dumps(rule))
    everything = frame(spark, [*KNOWN, *LATER])
    judged = {*range(30, 41), 203, 301, 305, 306}
    assert ids(everything.transform(record.unseen)) == judged
    assert ids(everything.transform(record.fitted)) == ids(everything) - judged
    assert ids(everything.transform(record.apart)) == ids(everything)
    assert "so only later complaints of the files and topics that it was tested on are judged" in record.gap()


def test_a_random_split_of_an_earlier_version_cant_be_judged(spark: SparkSession) -> None:
    record = SplitRule.from_json(json.dumps({"split": "random", "test_share": 0.25, "seed": 1, "since": {}}))
    assert ids(frame(spark, [*KNOWN, *LATER]).transform(record.unseen)) == set()
    assert "so none is judged" in record.gap()
