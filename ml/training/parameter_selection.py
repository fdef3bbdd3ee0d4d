"""Choose the classifier's parameters by cross-validation with time-ordered folds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from pyspark.ml.base import Estimator, Transformer
from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from ml.data.split import fold
from ml.metrics import Numbers, measured
from ml.scoring.influences import raw_logit

Progress = Callable[[str], None]
MAX_ITERATIONS = 100
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Candidate:
    """One combination of the grid's values, with its mean AUC-ROC over the folds (None if not tried)."""

    values: dict[str, float]
    auc_roc: float | None = None


def candidates(settings: MlSettings) -> list[Candidate]:
    """Return the parameter grid of the configured algorithm."""
    linear = settings.algorithm == "logistic_regression"
    names = ("regularisation", "elastic_net") if linear else ("trees", "depth")
    values = (getattr(settings.grid, name) for name in names)
    return [Candidate(dict(zip(names, combination, strict=True))) for combination in product(*values)]


def classifier(settings: MlSettings, candidate: Candidate, features: str = "features") -> Estimator[Any]:
    """Return the unfitted classifier; it reads `features`, `label` and `weight`, and adds `rawPrediction`."""
    if settings.algorithm == "gradient_boosted_trees":
        trees = GBTClassifier(
            featuresCol=features,
            maxIter=int(candidate.values["trees"]),
            maxDepth=int(candidate.values["depth"]),
            seed=settings.seed,
        )
        return trees.setWeightCol("weight").setProbabilityCol("uncalibrated")
    linear = LogisticRegression(
        featuresCol=features,
        regParam=candidate.values["regularisation"],
        elasticNetParam=candidate.values["elastic_net"],
        maxIter=MAX_ITERATIONS,
        tol=TOLERANCE,
        standardization=False,
    )
    return linear.setWeightCol("weight").setProbabilityCol("uncalibrated")


def weighted(rows: DataFrame, settings: MlSettings) -> DataFrame:
    """Add `weight`: 1, or with balanced classes a weight that gives both the same total."""
    if settings.class_weights == "none":
        return rows.withColumn("weight", F.lit(1.0))
    success = float(rows.agg(F.avg("label")).first()[0])  # type: ignore[index]
    return rows.withColumn("weight", F.when(F.col("label") == 1, 0.5 / success).otherwise(0.5 / (1 - success)))


def chosen(fit: DataFrame, settings: MlSettings, progress: Progress) -> tuple[Candidate, list[Candidate]]:
    """Return the best candidate by mean AUC-ROC over the folds, and all candidates with their scores.

    Args:
        fit: the training set with `features`, `label`, `weight`, `feed`, `key`, `date_received`.
        settings: grid, folds and algorithm.
        progress: called after each fit, with the estimated time left.
    """
    grid = candidates(settings)
    if len(grid) == 1:
        return grid[0], grid
    found: dict[int, list[float]] = {at: [] for at in range(len(grid))}
    start, done, steps = time.monotonic(), 0, len(grid) * settings.folds
    for number in range(settings.folds):
        earlier, later = (
            part.select("features", "label", "weight").persist() for part in fold(fit, number, settings.folds)
        )
        try:
            for at, candidate in enumerate(grid):
                auc = _fold_auc(classifier(settings, candidate), earlier, later)
                found[at] += [] if auc is None else [auc]
                done += 1
                left = (time.monotonic() - start) / done * (steps - done)
                progress(f"cross-validation: {done} of {steps} fits, about {left:.0f} s left")
        finally:
            earlier.unpersist()
            later.unpersist()
    tried = [Candidate(c.values, float(np.mean(found[at])) if found[at] else None) for at, c in enumerate(grid)]
    return max(tried, key=lambda candidate: candidate.auc_roc or 0.0), tried


def _fold_auc(estimator: Estimator[Any], earlier: DataFrame, later: DataFrame) -> float | None:
    """AUC-ROC on the later rows; None when the fold has only one kind of outcome."""
    if earlier.select("label").distinct().count() < 2:  # noqa: PLR2004
        return None
    raw, label = raw_and_label(estimator.fit(earlier), later)
    return measured(label, 1 / (1 + np.exp(-raw)), 0.5)["auc_roc"] if len(label) else None


def raw_and_label(fitted: Transformer, rows: DataFrame) -> tuple[Numbers, Numbers]:
    """Collect the raw logits and labels of rows on the driver."""
    found = fitted.transform(rows).select(raw_logit().alias("raw"), "label").collect()  # bounded: two numbers per row
    return np.array([row.raw for row in found]), np.array([row.label for row in found])
