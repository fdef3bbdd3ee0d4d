"""Sentiment and embeddings run in the JVM, train without outcomes, and are equal in batch and stream."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import VarianceThresholdSelectorModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sparknlp.annotator import BertSentenceEmbeddings

from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import MlSettings
from ml.data.split import TEST
from ml.evaluation.holdout import judge
from ml.features.company_history import with_history
from ml.features.pipeline import INPUTS, represented
from ml.scoring import scoring
from ml.scoring.influences import stage_of
from ml.scoring.scoring import Model, scored
from ml.training.training import Fitted, fit
from silver.tables import COMPLAINTS
from streaming.batch.load import follow
from streaming.queries.definitions import Queries, Trigger
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.ml.scoring.test_validation import IN_A_NEW_PROCESS
from tests.stream_fixtures import IN_PYTHON, whole_plans
from tests.streaming.queries.test_plans import plan

__all__ = ["whole_plans"]  # the fixture

pytestmark = pytest.mark.text

FEW = 40  # complaints, because MiniLM takes time for each


def switched_on(settings: MlSettings, **models: str | None) -> MlSettings:
    on = {name: getattr(settings, name).model_copy(update={"enabled": True, "model": models[name]}) for name in models}
    return settings.model_copy(update=on)


@pytest.fixture(scope="module")
def both(trained: Trained, parts: DataFrame) -> Fitted:
    """A model with sentiment and embeddings."""
    return fit(parts, switched_on(trained.lake.settings.ml, sentiment=None, embeddings=None), lambda _: None)


@pytest.fixture(scope="module")
def model(both: Fitted) -> Model:
    return Model("m", "1", both.artifact)


@pytest.mark.usefixtures("whole_plans")
def test_nothing_runs_in_python_and_stream_and_batch_scores_are_identical(
    trained: Trained, model: Model, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    lake.create(TABLES)
    query = Queries(lake).score(model, None, Trigger(until_done=True))
    follow(query, lambda _: None)
    some = trained.lake.read(COMPLAINTS).orderBy(F.desc("complaint_id")).limit(FEW).transform(scored(model))
    of_a_batch = lake.read(COMPLAINTS).transform(Queries(lake).scoring(model))
    for text in (plan(of_a_batch), plan(some)):
        assert "MapPartitions" in text  # which is how the embeddings are computed
        assert not IN_PYTHON.search(text)
    on_the_stream = {row.complaint_id: row.probability for row in lake.read(DECISIONS).collect()}
    in_batch = {row.complaint_id: row.probability for row in some.collect()}
    assert len(in_batch) == FEW
    assert {number: on_the_stream[number] for number in in_batch} == in_batch


def test_a_model_loaded_in_a_new_process_gives_identical_scores(trained: Trained, model: Model, tmp_path: Path) -> None:
    complaints = trained.lake.read(COMPLAINTS).orderBy("complaint_id").limit(FEW)
    artifact, rows = tmp_path / "artifact", tmp_path / "rows"
    model.fitted.write().save(str(artifact))
    complaints.write.parquet(str(rows))
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path / "lake"), str(artifact), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    there = dict(line.split() for line in done.stdout.splitlines())
    here = complaints.transform(scored(model)).collect()
    assert there == {str(row.complaint_id): row.probability.hex() for row in here}


def test_without_a_narrative_both_are_zero_and_otherwise_the_embedding_has_unit_length(
    trained: Trained, model: Model
) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    some = complaints.where("has_narrative").limit(10).unionByName(complaints.where("NOT has_narrative").limit(10))
    rows = model.fitted.transform(some.select(*INPUTS)).select(
        "has_narrative", "num_sentiment", vector_to_array(F.col("embedding")).alias("embedding")
    )
    for row in rows.collect():
        assert len(row.embedding) == 384
        length = math.sqrt(sum(value * value for value in row.embedding))
        if row.has_narrative:
            assert length == pytest.approx(1.0)
            assert 0 < row.num_sentiment < 1
        else:
            assert (length, row.num_sentiment) == (0.0, 0.0)


def test_nearly_constant_dimensions_are_left_out_so_that_the_classifier_learns(both: Fitted) -> None:
    linear = stage_of(both.artifact, LogisticRegressionModel)
    selector = stage_of(both.artifact, VarianceThresholdSelectorModel)
    assert linear is not None
    assert selector is not None
    varying = selector.selectedFeatures
    assert 375 < len(varying) < 384
    learned = np.abs(linear.coefficients.toArray())
    assert np.count_nonzero(learned[-len(varying) :]) == len(varying)
    assert np.count_nonzero(learned[: -len(varying)]) > 100
    assert not [warning for warning in both.warnings if "learned nothing" in warning]


def test_influences_include_the_sentiment_and_sum_to_the_logit(
    trained: Trained, both: Fitted, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "SHOWN_INFLUENCES", 1000)
    linear = stage_of(both.artifact, LogisticRegressionModel)
    assert linear is not None
    for row in trained.lake.read(COMPLAINTS).limit(FEW).transform(scored(model)).collect():
        line = both.lines[row.scored_with]
        contributions = {influence.feature: influence.contribution for influence in row.influences}
        assert "negative sentiment of the narrative" in contributions
        logit = math.log(row.probability / (1 - row.probability))
        assert math.isclose(
            line.slope * linear.intercept + line.offset + sum(contributions.values()), logit, abs_tol=1e-5
        )


def test_the_sentiment_is_evaluated_on_unseen_narratives_and_does_not_see_the_strong_words(
    trained: Trained, parts: DataFrame, both: Fitted, model: Model
) -> None:
    settings = switched_on(trained.lake.settings.ml, sentiment=None, embeddings=None)
    test = parts.where(F.col("part") == TEST)
    metrics = judge(both.artifact, both.threshold, test, settings).metrics.figures()
    assert metrics["sentiment_rows"] == test.where("has_narrative").count()
    assert 0 < metrics["sentiment_negative"] < 1
    assert 0 < metrics["sentiment_auc_roc"] < 1
    complaint = trained.lake.read(COMPLAINTS).where("has_narrative").limit(1)
    variants = [
        complaint.withColumn("narrative", F.concat("narrative", F.lit(more)))
        for more in ("", " Outrageous harassment!")
    ]
    plain, strong = (
        model.fitted.transform(rows.select(*INPUTS)).select("num_sentiment").collect() for rows in variants
    )
    assert plain == strong


def test_no_label_is_read_and_user_models_replace_the_projects_own(
    trained: Trained, parts: DataFrame, both: Fitted, tmp_path: Path
) -> None:
    unlabeled = parts.transform(with_history(0.2, 1.0, 15)).drop("label").where("part = 0")
    stages = list(both.artifact.stages)
    outputs = [stage.getOutputCol() if hasattr(stage, "getOutputCol") else "" for stage in stages]
    own = PipelineModel(stages=stages[outputs.index("plain_lemma") : outputs.index("sentiment") + 1])
    own.write().save(str(tmp_path / "sentiment"))
    bert = stage_of(both.artifact, BertSentenceEmbeddings)
    assert bert is not None
    bert.write().save(str(tmp_path / "bert"))
    models = {"sentiment": str(tmp_path / "sentiment"), "embeddings": str(tmp_path / "bert")}
    again = represented(unlabeled, switched_on(trained.lake.settings.ml, **models), with_text=True)
    some = unlabeled.where("has_narrative").limit(10)
    ours, theirs = (
        PipelineModel(stages=fitted.stages[: len(again.stages)])
        .transform(some)
        .select("complaint_id", "num_sentiment", vector_to_array(F.col("embedding")).alias("embedding"))
        .collect()
        for fitted in (both.artifact, again)
    )
    assert ours == theirs
    assert len(ours) == 10


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("sentiment", "/nowhere/at/all", "ml.sentiment.model is '/nowhere/at/all', and there is no such folder"),
        ("embeddings", "conf/text", "ml.embeddings.model is 'conf/text', and there is no usable model in that folder"),
        (
            "embeddings",
            "no_such_model",
            "no usable model of that name on Spark NLP's hub, or the hub can't be reached",
        ),
    ],
)
def test_a_missing_model_is_reported(trained: Trained, parts: DataFrame, name: str, model: str, message: str) -> None:
    settings = switched_on(trained.lake.settings.ml, **{name: model})
    with pytest.raises(ComplaintsError) as error:
        fit(parts, settings, lambda _: None)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
