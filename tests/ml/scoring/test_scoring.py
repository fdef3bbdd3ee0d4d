"""A score reports how it was made and its influences, which add up to the score."""

import json
import math

import pytest
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.sql import functions as F

from ml.registry.registry import Registry
from ml.scoring import scoring
from ml.scoring.scoring import scored
from ml.training.calibration import Line
from silver.tables import COMPLAINTS
from tests.conftest import Trained


def test_with_the_intercept_all_influences_sum_to_the_logit(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SHOWN_INFLUENCES", 1000)
    linear = next(stage for stage in trained.model.fitted.stages if isinstance(stage, LogisticRegressionModel))
    lines = {path: Line(**line) for path, line in json.loads(parameters(trained)["calibration"]).items()}
    rows = trained.lake.read(COMPLAINTS).transform(scored(trained.model)).collect()  # bounded: a few hundred rows
    assert {row.has_narrative for row in rows} == {True, False}
    for row in rows:
        logit = math.log(row.probability / (1 - row.probability))
        contributions = [influence.contribution for influence in row.influences]
        line = lines[row.scored_with]
        base = line.slope * linear.intercept + line.offset
        assert math.isclose(base + sum(contributions), logit, abs_tol=1e-6)
        assert [abs(c) for c in contributions] == sorted(map(abs, contributions), reverse=True)


def parameters(trained: Trained) -> dict[str, str]:
    return Registry(trained.lake.settings).parameters(trained.model.version)


def test_a_score_keeps_the_complaint_and_reports_how_it_was_made(trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    result = complaints.transform(scored(trained.model))
    added = ["probability", "scored_with", "influences", "model_name", "model_version"]
    assert result.columns == [*complaints.columns, *added]
    rows = result.select("has_narrative", "narrative", *added).collect()
    for row in rows:
        assert 0 < row.probability < 1
        assert row.scored_with == ("text" if row.has_narrative else "structure")
        assert (row.model_name, row.model_version) == (trained.model.name, trained.model.version)
        assert 0 < len(row.influences) <= scoring.SHOWN_INFLUENCES
        if not row.has_narrative:
            words = [i.contribution for i in row.influences if i.feature == "words of the narrative"]
            assert words in ([], [0.0])
    assert result.select([F.col(name) for name in complaints.columns]).exceptAll(complaints).count() == 0


def test_unseen_values_are_scored_and_have_no_influence(trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS).limit(5)
    odd = complaints.withColumns(
        {"company": F.lit("A COMPANY NEVER SEEN"), "product": F.lit(None).cast("string"), "narrative": F.lit("ßøλ ¡!")}
    )
    rows = odd.transform(scored(trained.model)).collect()
    assert len(rows) == 5
    for row in rows:
        assert 0 < row.probability < 1
        assert not [i for i in row.influences if "NEVER SEEN" in i.feature and i.contribution]
