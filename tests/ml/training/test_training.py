"""Training learns from the past and is evaluated on the future; unusable data is refused."""

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.data.examples import KEYS, examples, labeled
from ml.data.learned import Learned
from ml.data.split import TEST, parted
from ml.features.pipeline import INPUTS
from ml.registry.registry import Registry
from ml.scoring.scoring import Model, scored
from ml.training.training import fit, train
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES
from tests.conftest import Trained

TABLES = (COMPLAINTS, NARRATIVES, OUTCOMES)


def test_training_reports_what_it_did(trained: Trained) -> None:
    training = trained.training
    outcomes = trained.lake.read(OUTCOMES).where("successful_resolution IS NOT NULL").count()
    parts = training.train_rows + training.calibrate_rows + training.metrics.rows
    assert parts + training.copies == outcomes
    assert outcomes + training.unknown == trained.lake.read(COMPLAINTS).count()
    assert 0.15 < training.metrics.rows / outcomes <= 0.3
    assert 0 < training.metrics.base_rate < 1
    assert 0 <= (training.metrics.auc_roc or 0) <= 1
    assert (training.metrics.log_loss or 9) < 1.0
    assert trained.model.version == training.version == "1"
    record = Registry(trained.lake.settings).record("1")
    assert isinstance(record, Learned)
    assert record.cuts.keys() == {"export-narratives.json", "export-snake-case.csv"}
    assert min(record.cuts.values()) == training.split_on


def test_a_late_narrative_is_used_and_an_existing_one_stays(spark: SparkSession, trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    (without,) = complaints.where("NOT has_narrative").select("complaint_id").take(1)
    (existing,) = complaints.where("has_narrative").select("complaint_id", "narrative").take(1)
    later = spark.createDataFrame(
        [(without.complaint_id, "They called XXXX times, 7 a day!"), (existing.complaint_id, "Another text.")],
        "complaint_id bigint, narrative string",
    )
    rows = labeled(complaints, later, trained.lake.read(OUTCOMES))
    assert set(rows.columns) == {*KEYS, "label", *INPUTS}
    assert rows.count() == complaints.count()
    found = {
        row.complaint_id: row
        for row in rows.where(F.col("complaint_id").isin(without.complaint_id, existing.complaint_id)).collect()
    }
    row = found[without.complaint_id]
    assert (row.narrative, row.has_narrative) == ("They called XXXX times, 7 a day!", True)
    assert (row.redactions, row.exclamations) == (1, 1)
    assert found[existing.complaint_id].narrative == existing.narrative


def test_a_classifier_that_learned_nothing_is_reported(trained: Trained, parts: DataFrame) -> None:
    settings = trained.lake.settings.ml
    grid = settings.grid.model_copy(update={"regularisation": [100.0], "elastic_net": [1.0]})
    found = fit(parts, settings.model_copy(update={"grid": grid}), lambda _: None)
    assert [warning for warning in found.warnings if "The classifier learned nothing" in warning]


def test_unusable_data_is_refused(trained: Trained, lake: Lake) -> None:
    lake.create(TABLES)
    lake.append(trained.lake.read(COMPLAINTS), COMPLAINTS, "test:0")
    outcomes = trained.lake.read(OUTCOMES)
    too_few = outcomes.where("complaint_id % 4 = 0 AND successful_resolution IS NOT NULL")
    lake.append(too_few, OUTCOMES, "test:1")
    refuses(lake, "There are [0-9]+ complaints with a known outcome, and training needs 200: load more")
    of_one_kind = outcomes.where("NOT successful_resolution")
    lake.delta(OUTCOMES).delete()
    lake.append(of_one_kind, OUTCOMES, "test:2")
    refuses(lake, "All [0-9]+ known outcomes are unsuccessful, so there is nothing to tell apart")
    successes_of_the_past = outcomes.where("successful_resolution").orderBy("complaint_id").limit(20)
    lake.append(successes_of_the_past, OUTCOMES, "test:3")
    refuses(lake, "The test set has only one kind of outcome: load complaints from a longer period")


def refuses(lake: Lake, sentence: str) -> None:
    with pytest.raises(ComplaintsError, match=sentence):
        train(lake, Registry(lake.settings), lambda _: None)


def test_boosted_trees_replace_the_linear_model_and_have_no_influences(trained: Trained) -> None:
    trees = load_settings(ml={"algorithm": "gradient_boosted_trees", "grid": {"trees": [3], "depth": [2]}}).ml
    parts = parted(examples(trained.lake).where("label IS NOT NULL"), trees).persist()
    fitted = fit(parts, trees, lambda _: None)
    test = parts.where(F.col("part") == TEST)
    rows = test.transform(scored(Model("m", "1", fitted.artifact))).select("probability", "influences").collect()
    assert len({row.probability for row in rows}) > 2
    assert all(0 < row.probability < 1 and row.influences == [] for row in rows)


def test_without_narratives_or_with_one_product_a_model_is_trained_with_a_warning(trained: Trained) -> None:
    settings = trained.lake.settings.ml
    bare = (
        examples(trained.lake)
        .where("label IS NOT NULL")
        .withColumns(
            {"narrative": F.lit(None).cast("string"), "has_narrative": F.lit(col=False), "product": F.lit("Mortgage")}
        )
    )
    fitted = fit(parted(bare, settings), settings, lambda _: None)
    assert fitted.warnings == (
        "Only 0 complaints have a narrative, and learning from text needs 50: the model uses structure alone.",
        "All complaints are about one product: the model knows no other.",
    )
    rows = bare.limit(20).transform(scored(Model("m", "1", fitted.artifact))).collect()
    assert all(0 < row.probability < 1 and row.influences for row in rows)
