"""Feature selection: keep the strongest features of a fitted classifier and fit it again on those."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.ml.base import Transformer
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import VectorSlicer
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from ml.metrics import Numbers
from ml.training.parameter_selection import Candidate, classifier

STRONGEST = "strongest_features"


def fitted_classifier(rows: DataFrame, settings: MlSettings, candidate: Candidate) -> list[Transformer]:
    """Fit the classifier; with `ml.keep_features`, select the strongest features and fit again on them.

    Args:
        rows: the training set with `features`, `label`, `weight`.
        settings: algorithm, and how many features to keep.
        candidate: the algorithm's parameters.
    """
    full = classifier(settings, candidate).fit(rows)
    if settings.keep_features is None:
        return [full]
    slicer = strongest(full, rows, settings.keep_features)
    return [slicer, classifier(settings, candidate, STRONGEST).fit(slicer.transform(rows))]


def nothing_learned(stages: Sequence[Transformer]) -> tuple[str, ...]:
    """Warn if all coefficients of a linear classifier are zero: the optimizer gave up at the start."""
    last = stages[-1]
    if not isinstance(last, LogisticRegressionModel) or last.coefficients.toArray().any():
        return ()
    remedy = "lower ml.grid.regularisation, or look for a feature that hardly varies"
    return (f"The classifier learned nothing, all its coefficients are zero: {remedy}.",)


def strongest(fitted: Transformer, rows: DataFrame, keep: float) -> VectorSlicer:
    """Return the stage that keeps the strongest features of a fitted classifier, as `strongest_features`.

    In a linear model, a feature's strength is its standardized coefficient: coefficient times standard deviation over
    the rows. In trees it is the gain of its splits (Spark's `featureImportances`).

    Args:
        fitted: classifier fitted on `features` of the rows.
        rows: the training set.
        keep: share of features to keep if below 1, otherwise their number.
    """
    strength = _strength(fitted, rows)
    number = round(keep * len(strength)) if keep < 1 else int(keep)
    places = np.sort(np.argsort(-strength, kind="stable")[: max(1, number)])
    return VectorSlicer(inputCol="features", outputCol=STRONGEST, indices=[int(place) for place in places])


def _strength(fitted: Any, rows: DataFrame) -> Numbers:  # noqa: ANN401 - any fitted classifier
    if not isinstance(fitted, LogisticRegressionModel):
        return np.asarray(fitted.featureImportances.toArray(), dtype=float)
    deviation: Any = rows.select(Summarizer.std(F.col("features"))).collect()[0][0]
    return np.asarray(np.abs(fitted.coefficients.toArray()) * deviation.toArray(), dtype=float)
