"""The scoring path cannot see an outcome: what is known later reaches the model only as the label."""

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import CountVectorizerModel, SQLTransformer, StringIndexerModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ml.data.examples import KEYS, labeled
from ml.data.split import parted
from ml.features.pipeline import INPUTS, LABEL
from ml.scoring.scoring import scored
from ml.training.training import fit
from silver.fields import INTAKE, OUTCOME
from silver.outcomes import with_outcome_facts
from silver.tables import COMPLAINTS, FEATURES, NARRATIVES, OUTCOMES, STANDARD
from tests.conftest import Trained

KNOWN_AT_INTAKE = {field.name for field in INTAKE} | {column.name for column in (*STANDARD, *FEATURES)}
KNOWN_LATER = {*OUTCOMES.column_names, "is_final", LABEL} - {"complaint_id", "record_id"}


def test_every_input_is_intake_or_derived_from_intake() -> None:
    assert set(INPUTS) <= KNOWN_AT_INTAKE
    assert {field.name for field in OUTCOME} <= KNOWN_LATER
    assert not set(INPUTS) & KNOWN_LATER
    assert not set(COMPLAINTS.column_names) & KNOWN_LATER


def columns_read(stage: object) -> list[str]:
    """Return the input columns of a fitted stage."""
    for name in ("getInputCols", "getInputCol", "getFeaturesCol"):
        if hasattr(stage, name):
            try:
                value = getattr(stage, name)()
            except (KeyError, AttributeError):
                continue
            return [value] if isinstance(value, str) else list(value)
    msg = f"{stage} does not declare its input columns"
    raise AssertionError(msg)


def test_every_stage_reads_only_inputs_or_earlier_outputs(trained: Trained) -> None:
    frame = trained.lake.read(COMPLAINTS).select(*INPUTS).limit(0)
    for stage in trained.model.fitted.stages:
        if not isinstance(stage, SQLTransformer):
            read = columns_read(stage)
            assert read
            assert set(read) <= set(frame.columns)
        frame = stage.transform(frame)  # the SQL of the first stage would be refused here if it read anything else


def test_complaints_are_scored_from_the_inputs_only(trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    whole = complaints.transform(scored(trained.model)).select("complaint_id", "probability")
    bare = complaints.select("complaint_id", *INPUTS).transform(scored(trained.model))
    pairs = whole.join(bare.select("complaint_id", F.col("probability").alias("of_inputs")), "complaint_id").collect()
    assert len(pairs) == complaints.count()
    assert all(row.probability == row.of_inputs for row in pairs)


def test_training_uses_only_the_label_of_the_outcomes(trained: Trained) -> None:
    """With every other outcome column changed, the coefficients stay the same, word by word."""
    complaints, narratives, outcomes = (trained.lake.read(table) for table in (COMPLAINTS, NARRATIVES, OUTCOMES))
    rows = labeled(complaints, narratives, altered(outcomes))
    assert set(rows.columns) == {*KEYS, "label", *INPUTS}
    settings = trained.lake.settings.ml
    again = fit(parted(rows.where("label IS NOT NULL"), settings), settings, lambda _: None)
    assert again.rows[0] == trained.training.train_rows
    weights, others = coefficients(trained.model.fitted), coefficients(again.artifact)
    assert weights.keys() == others.keys()
    names = sorted(weights)
    assert np.allclose([weights[name] for name in names], [others[name] for name in names], atol=1e-4)
    assert max(map(abs, weights.values())) > 0.01


def altered(outcomes: DataFrame) -> DataFrame:
    """Return outcomes with every column changed except key and label."""
    other = {
        name: F.when(F.col(name).isNull(), F.lit(col=True)).otherwise(~F.col(name))
        if kind == "boolean"
        else F.reverse(F.coalesce(F.col(name), F.lit("none")))
        if kind == "string"
        else F.coalesce(F.col(name) + 400, F.lit(1))
        if kind == "int"
        else F.lit("2001-01-01").cast(kind)
        for name, kind in outcomes.dtypes
        if name not in {"complaint_id", LABEL}
    }
    return outcomes.withColumns(other)


def coefficients(fitted: PipelineModel) -> dict[str, float]:
    """The coefficients by feature name, because the order of equally frequent words and values is random."""
    words = next(stage for stage in fitted.stages if isinstance(stage, CountVectorizerModel)).vocabulary
    indexer = next(stage for stage in fitted.stages if isinstance(stage, StringIndexerModel))
    columns = zip(indexer.getInputCols(), indexer.labelsArray, strict=True)
    values = [f"{column}={value}" for column, labels in columns for value in labels]
    linear = next(stage for stage in fitted.stages if isinstance(stage, LogisticRegressionModel))
    found = [float(weight) for weight in linear.coefficients.toArray()]
    numbers = [f"number {at}" for at in range(len(found) - len(values) - len(words))]
    return dict(zip([*values, *numbers, *(f"word {word}" for word in words)], found, strict=True))


def test_silver_derives_outcomes_separately_from_complaints(trained: Trained) -> None:
    """Facts derived from an outcome go to silver.outcomes; silver.complaints as stored has none of them."""
    stored = trained.lake.read(COMPLAINTS)
    assert not set(stored.columns) & KNOWN_LATER
    derived = with_outcome_facts(trained.lake.settings.silver.successful_resolution)(
        trained.lake.read(OUTCOMES).join(stored.select("complaint_id", "date_received"), "complaint_id")
    )
    assert set(derived.columns) - {"complaint_id", "record_id", "date_received"} <= KNOWN_LATER
