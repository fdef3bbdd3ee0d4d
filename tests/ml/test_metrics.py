"""Metrics match scikit-learn; intervals contain the metric and narrow with more rows."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ml.metrics import Numbers, classification_report, confusion, intervals, measured, resampled


def drawn(rows: int, seed: int = 1, ties: int = 20) -> tuple[Numbers, Numbers]:
    """Labels drawn from probabilities, which are rounded so that there are ties."""
    random = np.random.default_rng(seed)
    probability = np.clip(np.round(random.beta(1, 3, rows) * ties) / ties, 0.01, 0.99)
    return (random.random(rows) < probability).astype(float), probability


def test_each_metric_matches_scikit_learn() -> None:
    label, probability = drawn(700)
    predicted = probability >= 0.4
    found = measured(label, probability, 0.4)
    expected = {
        "auc_roc": roc_auc_score(label, probability),
        "auc_pr": average_precision_score(label, probability),
        "accuracy": accuracy_score(label, predicted),
        "precision": precision_score(label, predicted),
        "recall": recall_score(label, predicted),
        "f1": f1_score(label, predicted),
        "log_loss": log_loss(label, probability),
        "brier": brier_score_loss(label, probability),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    label, probability = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.05, 0.05, 0.95, 0.95])
    assert measured(label, probability, 0.5)["ece"] == pytest.approx(0.45)
    assert measured(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5)["ece"] == 0


def test_an_undefined_metric_is_none() -> None:
    found = measured(np.zeros(5), np.full(5, 0.2), 0.5)
    assert (found["auc_roc"], found["precision"], found["recall"]) == (None, None, None)
    assert found["accuracy"] == 1


def test_an_interval_contains_the_metric_and_narrows_with_more_rows() -> None:
    widths = []
    for rows in (100, 1600):
        label, probability = drawn(rows)
        found = intervals(label, probability, 0.4, seed=7, resamples=200)
        metrics = measured(label, probability, 0.4)
        for name in ("auc_roc", "accuracy", "brier", "log_loss"):
            interval, value = found[name], metrics[name]
            assert interval is not None
            assert value is not None
            assert interval[0] <= value <= interval[1]
        auc = found["auc_roc"]
        assert auc is not None
        widths.append(auc[1] - auc[0])
    assert widths[1] < widths[0] / 2


def test_the_same_seed_draws_the_same_rows_for_two_models() -> None:
    label, probability = drawn(300)
    one, other = (resampled(label, values, 0.4, seed=3, resamples=50) for values in (probability, probability**2))
    assert np.allclose(one["auc_roc"], other["auc_roc"])  # the same order of the same rows


def test_confusion_and_report_count_each_row_once() -> None:
    label, probability = np.array([1.0, 1.0, 0.0, 0.0, 0.0]), np.array([0.9, 0.2, 0.8, 0.1, 0.1])
    counts = confusion(label, probability, 0.5)
    assert counts == {"true_positive": 1, "false_positive": 1, "false_negative": 1, "true_negative": 2}
    report = classification_report(counts)
    assert report["successful"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}
    assert report["unsuccessful"]["rows"] == 3
