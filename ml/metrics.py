"""How good probabilities are: discrimination, calibration and decisions at a threshold, each with its interval.

Works on two arrays on the driver, label and probability. Everything is computed with a weight a row, so that the same
lines give the figure (all weights 1) and its bootstrap (weights drawn).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

MEASURES = ("auc_roc", "auc_pr", "accuracy", "precision", "recall", "f1", "log_loss", "brier", "ece")
BINS = 10
RESAMPLES = 500
CELLS = 4_000_000  # of a block of weights, so that memory stays bounded
LEVEL = 0.95
SURE = 1e-15  # log loss takes no probability nearer to 0 or 1


def measured(label: Numbers, probability: Numbers, threshold: float) -> dict[str, float | None]:
    """The `MEASURES` of rows.

    Args:
        label: 1 for a successful resolution, 0 otherwise.
        probability: of 1.
        threshold: from which a row is called successful.

    Returns:
        auc_roc: rank statistic of Mann and Whitney (1947), ties counted half; auc_pr: average precision; ece: expected
        calibration error over `BINS` equal bins (Naeini et al. 2015). None where a figure has no meaning, as an AUC of
        one class.
    """
    figures = _figures(label, probability, threshold, np.ones((1, len(label))))
    return {name: _number(values[0]) for name, values in figures.items()}


def intervals(
    label: Numbers, probability: Numbers, threshold: float, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float] | None]:
    """For each of the `MEASURES` its 95 % percentile interval over bootstrap samples of the rows (Efron 1979)."""
    drawn = resampled(label, probability, threshold, seed=seed, resamples=resamples)
    return {name: interval_of(values) for name, values in drawn.items()}


def resampled(
    label: Numbers, probability: Numbers, threshold: float, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Numbers]:
    """The `MEASURES` over bootstrap samples; with the same seed and rows, sample n is the same rows."""
    random = np.random.default_rng(seed)
    rows = len(label)
    block = max(1, CELLS // max(rows, 1))
    parts = []
    for begin in range(0, resamples, block):
        drawn = random.integers(0, rows, (min(block, resamples - begin), rows))
        weights = np.stack([np.bincount(one, minlength=rows) for one in drawn]).astype(np.float64)
        parts.append(_figures(label, probability, threshold, weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def interval_of(values: Numbers) -> tuple[float, float] | None:
    """The middle 95 % of values; None when there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def confusion(label: Numbers, probability: Numbers, threshold: float) -> dict[str, int]:
    """Rows by what was and what was called: true and false positives and negatives."""
    called, true = probability >= threshold, label == 1
    return {
        "true_positive": int((called & true).sum()),
        "false_positive": int((called & ~true).sum()),
        "false_negative": int((~called & true).sum()),
        "true_negative": int((~called & ~true).sum()),
    }


def classification_report(counts: Mapping[str, int]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, F1 and rows of both classes, from a confusion."""
    hit, false_alarm, missed, quiet = counts.values()
    return {
        "successful": _of_class(hit, false_alarm, missed),
        "unsuccessful": _of_class(quiet, missed, false_alarm),
    }


def _of_class(hit: int, false_alarm: int, missed: int) -> dict[str, float | int | None]:
    precision = hit / (hit + false_alarm) if hit + false_alarm else None
    recall = hit / (hit + missed) if hit + missed else None
    f1 = 2 * hit / (2 * hit + false_alarm + missed) if hit + false_alarm + missed else None
    return {"precision": precision, "recall": recall, "f1": f1, "rows": hit + missed}


def _figures(label: Numbers, probability: Numbers, threshold: float, weights: Numbers) -> dict[str, Numbers]:
    """Each measure, a value a row of `weights` (samples by rows)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_ranked(label, probability, weights),
            **_called(label, probability, threshold, weights),
            **_probable(label, probability, weights),
        }


def _ranked(label: Numbers, probability: Numbers, weights: Numbers) -> dict[str, Numbers]:
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


def _called(label: Numbers, probability: Numbers, threshold: float, weights: Numbers) -> dict[str, Numbers]:
    called = (probability >= threshold).astype(np.float64)
    hit = weights @ (called * label)
    right = weights @ (called * label + (1 - called) * (1 - label))
    is_called, is_positive = weights @ called, weights @ label
    return {
        "accuracy": right / weights.sum(axis=1),
        "precision": hit / is_called,
        "recall": hit / is_positive,
        "f1": 2 * hit / (is_called + is_positive),
    }


def _probable(label: Numbers, probability: Numbers, weights: Numbers) -> dict[str, Numbers]:
    rows = weights.sum(axis=1)
    safe = np.clip(probability, SURE, 1 - SURE)
    loss = -(label * np.log(safe) + (1 - label) * np.log1p(-safe))
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = [np.abs(weights @ np.where(place == at, probability - label, 0.0)) for at in range(BINS)]
    return {
        "log_loss": weights @ loss / rows,
        "brier": weights @ (probability - label) ** 2 / rows,
        "ece": np.sum(gaps, axis=0) / rows,
    }


def _number(value: Any) -> float | None:  # noqa: ANN401 - a number of numpy's
    return float(value) if np.isfinite(value) else None
