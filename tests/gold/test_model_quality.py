"""Weekly quality by version matches scikit-learn, and drift from the training data raises an alert."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import roc_auc_score

from gold.model_quality import ALERT, quality, stability, with_week
from ml.data.reference import OTHER, reference
from ml.metrics import measured

COLUMNS = (
    "model_name string, model_version string, date_received date, probability double, label double, product string"
)
MONDAY = date(2023, 5, 1)


def decided(spark: SparkSession, weeks: dict[int, tuple[np.ndarray, np.ndarray]], product: str) -> DataFrame:
    rows = [
        ("m", "1", MONDAY + timedelta(days=7 * week + n % 7), float(p), float(y), product if n % 2 else "Mortgage")
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


def test_data_like_training_is_quiet_and_drift_raises_an_alert(spark: SparkSession) -> None:
    probability, label = drawn(400, 4)
    rows = decided(spark, {0: (probability, label)}, "Debt")
    columns = {name: ["x"] * 400 for name in ("issue", "company", "state", "submitted_via")}
    seen = reference(pd.DataFrame({"product": ["Mortgage", "Debt"] * 200, **columns}), probability)
    only = {name: seen.shares[name] for name in ("probability", "product")}
    quiet = {r.feature: r for r in rows.transform(stability(seen.edges, only, OTHER)).collect()}
    assert quiet["probability"].value == pytest.approx(0, abs=0.02)
    assert quiet["product"].value == pytest.approx(0, abs=0.02)
    assert not any(row.is_alert for row in quiet.values())
    moved = decided(spark, {0: (probability**4, label)}, "A product never seen")
    loud = {r.feature: r for r in moved.transform(stability(seen.edges, only, OTHER)).collect()}
    assert loud["probability"].value > ALERT
    assert loud["product"].value > ALERT
    assert all(row.is_alert for row in loud.values())


def test_a_week_is_identified_by_its_monday(spark: SparkSession) -> None:
    rows = decided(spark, {0: drawn(7, 1)}, "Debt")
    assert {row.week for row in rows.collect()} == {MONDAY}
    assert datetime.combine(MONDAY, datetime.min.time()).weekday() == 0
