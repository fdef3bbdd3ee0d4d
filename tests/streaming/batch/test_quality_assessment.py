"""Quality is assessed per week by joining decisions to outcomes; unchanged weeks are skipped."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from complaints import main
from gold import model_quality
from gold.tables import DECISIONS, MODEL_QUALITY
from lakehouse.tables.lake import Lake, writer_lock
from ml.registry.registry import Registry
from silver.tables import OUTCOMES
from streaming.batch import quality_assessment
from streaming.batch.backlog import score_backlog
from streaming.batch.quality_assessment import assess, assessment, current_alerts, sampled
from streaming.service.upkeep import ModelWatch
from tests.conftest import Trained, copy_of

Key = tuple[str, date, str, str]  # version, week, measure, feature


def stored(lake: Lake) -> dict[Key, Row]:
    rows = lake.read(MODEL_QUALITY).collect()
    found: dict[Key, Row] = {(row.model_version, row.week, row.measure, row.feature): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_only_weeks_with_new_data_are_assessed_again_even_while_a_stream_runs(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_quality, "FEWEST", 3)
    lake = copy_of(trained, tmp_path / "lake")
    score_backlog(lake.settings, lambda *_: None)
    found = assessment(lake.settings)
    first = stored(lake)
    assert found.is_current
    assert len(found.rows) == len(first) > 10
    assert {measure for _, _, measure, _ in first} == {"auc_roc", "ece", "base_rate", "population_stability"}
    assert {version for version, *_ in first} == {"1"}
    again = assess(lake, Registry(lake.settings))  # within the overlap: the same weeks, the same metrics
    assert {(row.week, row.measure, row.feature): row.value for row in again} == {
        key[1:]: row.value for key, row in first.items()
    }

    monkeypatch.setattr(quality_assessment, "OVERLAP", timedelta(0))
    before = stored(lake)
    assert assess(lake, Registry(lake.settings)) == []
    first_week = min(week for _, week, *_ in before)
    lake.delta(MODEL_QUALITY).update(F.col("week") == F.lit(first_week), {"is_alert": F.lit(col=True)})
    renewed = assess(lake, Registry(lake.settings))  # an earlier version of the project raised alerts on few rows
    assert {(row.week, row.is_alert) for row in renewed} == {(first_week, False)}
    before = stored(lake)
    week = max(week for _, week, *_ in before)
    flipped = flip_outcome(lake, week)
    of_former_rules = (
        lake.read(MODEL_QUALITY).where(F.col("week") == week).limit(1).withColumn("feature", F.lit("gone"))
    )
    lake.append(of_former_rules, MODEL_QUALITY, "test:1")
    warnings: list[str] = []
    watch = ModelWatch(lake, Registry(lake.settings), warnings.append)
    watch()
    after = stored(lake)
    assert {key[1] for key, row in after.items() if row.assessed_at != before[key].assessed_at} == {week}
    assert before.keys() == after.keys()
    rate = ("1", week, "base_rate", "")
    assert after[rate].value == pytest.approx(before[rate].value + flipped / before[rate].rows)
    assert warnings == []  # every complaint was there when the version was trained
    assert not any(row.is_alert for row in after.values())

    with writer_lock(lake.settings):  # as a running stream does
        monkeypatch.setattr("sys.argv", ["complaints", "--root", str(tmp_path / "lake"), "models", "quality", "--json"])
        main()
    printed = capsys.readouterr()
    shown = json.loads(printed.out)
    assert (len(shown["rows"]), shown["current"]) == (len(after), False)
    assert "Another process is writing to the lake: as of " in printed.err


def metric(week: int, value: float, **changed: object) -> dict[str, object]:
    """A row of gold.model_quality with 1,000 complaints; an alert above 0.2."""
    row: dict[str, object] = {"model_version": "2", "week": date(2024, 3, 4) + timedelta(weeks=week), "rows": 1_000}
    return {**row, "measure": "population_stability", "value": value, "is_alert": value > 0.2, **changed}


DRIFTED = [metric(1, 0.3, feature="product"), metric(1, 0.5, feature="company"), metric(1, 0.1, feature="state")]


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (DRIFTED, ["the complaints differ from training, by population stability index: company 0.50, product 0.30"]),
        ([*DRIFTED, metric(0, 0.9, feature="product")], 1),  # the same cause a week earlier
        ([*DRIFTED, metric(2, 0.1, feature="product")], []),  # it is over
        ([*DRIFTED, metric(2, 0.1, feature="product", rows=999)], 1),  # a week that has just begun says nothing
        ([metric(1, 0.3, feature="product", model_version="1")], []),  # a version that is no longer used
        (
            [metric(1, 0.13, feature="", measure="ece", is_alert=True)],
            ["the probabilities differ from the outcomes by 0.13 on average"],
        ),
        ([], []),
    ],
)
def test_one_cause_is_one_alert_and_only_of_the_version_in_use(
    rows: list[dict[str, object]], sentences: list[str] | int
) -> None:
    found = [str(alert) for alert in current_alerts(rows, "2")]
    if isinstance(sentences, int):
        assert len(found) == sentences
    else:
        assert found == [f"Warning: version 2, week of 2024-03-11: {sentence}" for sentence in sentences]


def test_a_large_week_is_assessed_on_a_stable_sample(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_assessment, "SAMPLE", 1_000)
    large, small = date(2024, 3, 4), date(2024, 3, 11)
    week = F.when(F.col("complaint_id") < 10_000, F.lit(large)).otherwise(F.lit(small))
    rows = spark.range(10_900).select(F.col("id").alias("complaint_id"), week.alias("week"))
    sample = rows.transform(sampled({large: 10_000, small: 900}))
    assert 900 < sample.where(F.col("week") == large).count() < 1_100
    assert sample.where(F.col("week") == small).count() == 900
    later = rows.transform(sampled({large: 20_000, small: 900}))
    assert 400 < later.where(F.col("week") == large).count() < 600
    assert later.join(sample, on="complaint_id", how="left_anti").isEmpty()


def flip_outcome(lake: Lake, week: date) -> int:
    """Flip the outcome of one complaint of a week; returns the change in the week's successes."""
    decided = lake.read(DECISIONS).where(F.to_date(F.date_trunc("week", "date_received")) == F.lit(week))
    resolved = decided.join(lake.read(OUTCOMES).where("successful_resolution IS NOT NULL"), on="complaint_id")
    row = resolved.select("complaint_id", "successful_resolution").orderBy(F.desc("date_received")).collect()[0]
    flipped = {"successful_resolution": F.lit(not row.successful_resolution), "observed_at": F.current_timestamp()}
    lake.delta(OUTCOMES).update(F.col("complaint_id") == row.complaint_id, flipped)  # type: ignore[arg-type]
    return -1 if row.successful_resolution else 1
