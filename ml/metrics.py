"""Metrics of predicted probabilities, with intervals: discrimination, calibration, and at a threshold.

Works on two arrays on the driver, label and probability. Everything is computed with one weight per row, so the same
code computes the metric (all weights 1) and its bootstrap (sampled weights).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

MEASURES = ("auc_roc", "auc_pr", "accuracy", "precision", "recall", "f1", "log_loss", "brier", "ece")
BINS = 10
RESAMPLES = 500
CELLS = 4_000_000  # per block of weights, to bound memory
LEVEL = 0.95
EPSILON = 1e-15  # log loss clips probabilities this close to 0 or 1


def measured(label: Numbers, probability: Numbers, threshold: float) -> dict[str, float | None]:
    """Compute the `MEASURES`.

    Args:
        label: 1 for a successful resolution, 0 otherwise.
        probability: predicted probability of label 1.
        threshold: probability at or above which a row is predicted successful.

    Returns:
        auc_roc: rank statistic of Mann and Whitney (1947), with ties counted as half; auc_pr: average precision; ece:
        expected calibration error over `BINS` equal bins (Naeini et al. 2015). None where a metric is undefined, such
        as the AUC of a single class.
    """
    metrics = _weighted_metrics(label, probability, threshold, np.ones((1, len(label))))
    return {name: _number(values[0]) for name, values in metrics.items()}


def intervals(
    label: Numbers, probability: Numbers, threshold: float, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float] | None]:
    """Compute the 95 % bootstrap percentile interval of each of the `MEASURES` (Efron 1979)."""
    drawn = resampled(label, probability, threshold, seed=seed, resamples=resamples)
    return {name: interval_of(values) for name, values in drawn.items()}


def resampled(
    label: Numbers, probability: Numbers, threshold: float, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Numbers]:
    """Compute the `MEASURES` over bootstrap samples; the same seed and row count draw the same rows."""
    random = np.random.default_rng(seed)
    rows = len(label)
    block = max(1, CELLS // max(rows, 1))
    parts = []
    for begin in range(0, resamples, block):
        drawn = random.integers(0, rows, (min(block, resamples - begin), rows))
        weights = np.stack([np.bincount(one, minlength=rows) for one in drawn]).astype(np.float64)
        parts.append(_weighted_metrics(label, probability, threshold, weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def interval_of(values: Numbers) -> tuple[float, float] | None:
    """The middle 95 % of the finite values; None when there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def confusion(label: Numbers, probability: Numbers, threshold: float) -> dict[str, int]:
    """Count true and false positives and negatives."""
    predicted, actual = probability >= threshold, label == 1
    return {
        "true_positive": int((predicted & actual).sum()),
        "false_positive": int((predicted & ~actual).sum()),
        "false_negative": int((~predicted & actual).sum()),
        "true_negative": int((~predicted & ~actual).sum()),
    }


def classification_report(counts: Mapping[str, int]) -> dict[str, dict[str, float | int | None]]:
    """Compute precision, recall, F1 and row count of both classes from a confusion matrix."""
    hit, false_alarm, missed, rejected = counts.values()
    return {
        "successful": _of_class(hit, false_alarm, missed),
        "unsuccessful": _of_class(rejected, missed, false_alarm),
    }


def _of_class(hit: int, false_alarm: int, missed: int) -> dict[str, float | int | None]:
    precision = hit / (hit + false_alarm) if hit + false_alarm else None
    recall = hit / (hit + missed) if hit + missed else None
    f1 = 2 * hit / (2 * hit + false_alarm + missed) if hit + false_alarm + missed else None
    return {"precision": precision, "recall": recall, "f1": f1, "rows": hit + missed}


def _weighted_metrics(label: Numbers, probability: Numbers, threshold: float, weights: Numbers) -> dict[str, Numbers]:
    """The `MEASURES`, one value per sample; `weights` has one line per sample, one column per row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_rank_metrics(label, probability, weights),
            **_threshold_metrics(label, probability, threshold, weights),
            **_probability_metrics(label, probability, weights),
        }


def _rank_metrics(label: Numbers, probability: Numbers, weights: Numbers) -> dict[str, Numbers]:
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=np.inf))
    if not len(starts):
        return {"auc_roc": np.full(len(weights), np.nan), "auc_pr": np.full(len(weights), np.nan)}
    positive = np.add.reduceat((weights * label)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - label))[:, order], starts, axis=1)
    hits, alarms = positive.cumsum(axis=1), negative.cumsum(axis=1)
    all_positive, all_negative = hits[:, -1], alarms[:, -1]
    below = all_negative[:, None] - alarms + negative / 2
    precision = np.nan_to_num(hits / (hits + alarms))
    return {
        "auc_roc": (positive * below).sum(axis=1) / (all_positive * all_negative),
        "auc_pr": (precision * positive).sum(axis=1) / all_positive,
    }


def _threshold_metrics(label: Numbers, probability: Numbers, threshold: float, weights: Numbers) -> dict[str, Numbers]:
    predicted = (probability >= threshold).astype(np.float64)
    hit = weights @ (predicted * label)
    correct = weights @ (predicted * label + (1 - predicted) * (1 - label))
    is_predicted, is_positive = weights @ predicted, weights @ label
    return {
        "accuracy": correct / weights.sum(axis=1),
        "precision": hit / is_predicted,
        "recall": hit / is_positive,
        "f1": 2 * hit / (is_predicted + is_positive),
    }


def _probability_metrics(label: Numbers, probability: Numbers, weights: Numbers) -> dict[str, Numbers]:
    rows = weights.sum(axis=1)
    safe = np.clip(probability, EPSILON, 1 - EPSILON)
    loss = -(label * np.log(safe) + (1 - label) * np.log1p(-safe))
    bin_of = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = [np.abs(weights @ np.where(bin_of == at, probability - label, 0.0)) for at in range(BINS)]
    return {
        "log_loss": weights @ loss / rows,
        "brier": weights @ (probability - label) ** 2 / rows,
        "ece": np.sum(gaps, axis=0) / rows,
    }


def _number(value: Any) -> float | None:  # noqa: ANN401 - a numpy number
    return float(value) if np.isfinite(value) else None
