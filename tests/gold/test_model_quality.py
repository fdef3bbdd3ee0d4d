"""Weekly quality by version matches scikit-learn, and drift from the training data raises an alert."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import roc_auc_score

from gold.model_quality import ALERT, quality, stability, with_week
from ml.data.reference import OTHER, Reference, reference
from ml.metrics import measured

COLUMNS = (
    "model_name string, model_version string, date_received date, probability double, label double, product string, "
    "is_new boolean"
)
MONDAY = date(2023, 5, 1)


def decided(
    spark: SparkSession, weeks: dict[int, tuple[np.ndarray, np.ndarray]], product: str, *, version: str = "1"
) -> DataFrame:
    """Decisions by week; those of version 1 arrived after it was trained."""
    names = ("Mortgage", product)
    rows = [
        ("m", version, MONDAY + timedelta(days=7 * week + n % 7), float(p), float(y), names[n % 2], version == "1")
        for week, (probability, label) in weeks.items()
        for n, (p, y) in enumerate(zip(probability, label, strict=True))
    ]
    return spark.createDataFrame(rows, COLUMNS).transform(with_week)


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probability = np.round(random.random(rows), 2)
    return probability, (random.random(rows) < probability).astype(float)


def test_each_week_has_its_own_metrics(spark: SparkSession) -> None:
    weeks = {0: drawn(200, 1), 1: drawn(120, 2), 2: drawn(10, 3)}
    found = {(row.week, row.measure): row for row in decided(spark, weeks, "Debt").transform(quality).collect()}
    assert {week for week, _ in found} == {MONDAY, MONDAY + timedelta(days=7)}  # ten rows are too few
    for at, (probability, label) in list(weeks.items())[:2]:
        week = MONDAY + timedelta(days=7 * at)
        assert found[week, "auc_roc"].value == pytest.approx(roc_auc_score(label, probability))
        assert found[week, "ece"].value == pytest.approx(measured(label, probability, 0.5)["ece"])
        assert found[week, "base_rate"].value == pytest.approx(label.mean())
        assert found[week, "auc_roc"].rows == len(label)


def test_probabilities_that_are_off_raise_an_alert_in_a_week_of_a_thousand_new_complaints(spark: SparkSession) -> None:
    label = np.tile([0.0, 1.0], 600)
    off = np.full(1200, 0.9)
    rows = decided(spark, {0: (off, label), 1: (off[:998], label[:998])}, "Debt")
    old = decided(spark, {0: (off, label)}, "Debt", version="2")
    found = {
        (r.model_version, r.week): r for r in rows.union(old).transform(quality).where("measure = 'ece'").collect()
    }
    assert {key: (round(row.value, 2), row.is_alert) for key, row in found.items()} == {
        ("1", MONDAY): (0.4, True),
        ("1", MONDAY + timedelta(days=7)): (0.4, False),  # by chance, such a week may be off
        ("2", MONDAY): (0.4, False),  # known when the version was trained
    }


def seen_in_training(rows: int, probability: np.ndarray) -> Reference:
    columns = {name: ["x"] * rows for name in ("issue", "company", "state", "submitted_via")}
    return reference(pd.DataFrame({"product": (["Mortgage", "Debt"] * rows)[:rows], **columns}), probability)


def test_data_like_training_is_quiet_and_drift_raises_an_alert(spark: SparkSession) -> None:
    probability, label = drawn(1200, 4)
    seen = seen_in_training(1200, probability)
    only = {name: seen.shares[name] for name in ("probability", "product")}
    same = decided(spark, {0: (probability, label)}, "Debt")
    moved = decided(spark, {1: (probability**4, label)}, "A product never seen")
    old = decided(spark, {1: (probability**4, label)}, "A product never seen", version="2")
    few = decided(spark, {2: (probability[:900] ** 4, label[:900])}, "A product never seen")
    weeks = same.union(moved).union(old).union(few)
    found = {
        (row.model_version, row.week, row.feature): row
        for row in weeks.transform(stability(seen.edges, only, OTHER)).collect()
    }
    for feature in only:
        assert found["1", MONDAY, feature].value == pytest.approx(0, abs=0.02)
        assert found["1", MONDAY + timedelta(days=7), feature].value > ALERT
    alerts = {key[:2] for key, row in found.items() if row.is_alert}
    assert alerts == {("1", MONDAY + timedelta(days=7))}


def test_rare_values_are_compared_together(spark: SparkSession) -> None:
    """In a week of 100, values of a share below 5 % are one value: each alone is there or not by chance."""
    shares = {"product": {"Mortgage": 0.5, "Debt": 0.4, "A": 0.04, "B": 0.03, "C": 0.02, OTHER: 0.01}}
    week = decided(spark, {0: drawn(100, 5)}, "Debt")
    (row,) = week.transform(stability((), shares, OTHER)).collect()
    # 50, 50 and none of the rest, which counts as half a row
    expected = 0.1 * np.log(0.5 / 0.4) + (0.005 - 0.1) * np.log(0.005 / 0.1)
    assert row.value == pytest.approx(expected)


def test_a_week_is_identified_by_its_monday(spark: SparkSession) -> None:
    rows = decided(spark, {0: drawn(7, 1)}, "Debt")
    assert {row.week for row in rows.collect()} == {MONDAY}
    assert datetime.combine(MONDAY, datetime.min.time()).weekday() == 0
