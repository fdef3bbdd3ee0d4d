"""With fewer features, the model keeps the strongest and is checked, explained and saved as before."""

import math
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import VectorSlicer
from pyspark.sql import DataFrame

from lakehouse.settings import load_settings
from ml.data.split import TEST
from ml.metrics import Numbers
from ml.scoring import scoring
from ml.scoring.influences import stage_of
from ml.scoring.scoring import Model, scored
from ml.scoring.validation import checked_output
from ml.training.feature_selection import strongest
from ml.training.training import Fitted, fit
from silver.tables import COMPLAINTS
from tests.conftest import Trained


@pytest.fixture(scope="module")
def reduced(trained: Trained, parts: DataFrame) -> Fitted:
    return fit(parts, trained.lake.settings.ml.model_copy(update={"keep_features": 0.1}), lambda _: None)


def coefficients(fitted: PipelineModel) -> Numbers:
    linear = stage_of(fitted, LogisticRegressionModel)
    assert linear is not None
    return np.asarray(linear.coefficients.toArray(), dtype=float)


def test_the_configured_share_of_features_is_kept_and_fitted(trained: Trained, reduced: Fitted) -> None:
    whole, kept = coefficients(trained.model.fitted), coefficients(reduced.artifact)
    assert len(kept) == round(len(whole) / 10)
    slicer = stage_of(reduced.artifact, VectorSlicer)
    assert slicer is not None
    left_out = np.delete(whole, slicer.getIndices())
    assert np.abs(whole[slicer.getIndices()]).mean() > 2 * np.abs(left_out).mean()
    assert checked_output(reduced.artifact, trained.lake.read(COMPLAINTS).limit(40)).size == len(kept)


@pytest.mark.parametrize(("keep", "number"), [(5.0, 5), (0.0001, 1), (1e9, None)])
def test_a_number_of_features_is_kept_and_at_least_one(
    trained: Trained, parts: DataFrame, keep: float, number: int | None
) -> None:
    fitted = trained.model.fitted
    linear = stage_of(fitted, LogisticRegressionModel)
    assert linear is not None
    ready = PipelineModel(stages=fitted.stages[:-2]).transform(parts.where(f"part != {TEST}").limit(50))
    assert len(strongest(linear, ready, keep).getIndices()) == (number or linear.numFeatures)


def test_influences_still_sum_to_the_logit(
    trained: Trained, reduced: Fitted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scoring, "SHOWN_INFLUENCES", 1000)
    reduced.artifact.write().save(str(tmp_path / "artifact"))
    loaded = PipelineModel.load(str(tmp_path / "artifact"))
    linear = stage_of(loaded, LogisticRegressionModel)
    assert linear is not None
    rows = trained.lake.read(COMPLAINTS).transform(scored(Model("m", "1", loaded))).collect()  # bounded: a few hundred
    assert {row.has_narrative for row in rows} == {True, False}
    for row in rows:
        line = reduced.lines[row.scored_with]
        total = sum(influence.contribution for influence in row.influences)
        logit = math.log(row.probability / (1 - row.probability))
        assert math.isclose(line.slope * linear.intercept + line.offset + total, logit, abs_tol=1e-6)


def test_boosted_trees_keep_the_features_with_the_most_gain(trained: Trained, parts: DataFrame) -> None:
    trees = {"algorithm": "gradient_boosted_trees", "grid": {"trees": [2], "depth": [2]}, "keep_features": 6.0}
    fitted = fit(parts, load_settings(ml=trees).ml, lambda _: None)
    output = checked_output(fitted.artifact, trained.lake.read(COMPLAINTS).limit(40))
    assert output.size == 6
