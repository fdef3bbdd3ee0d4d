"""Apply the fitted artifact: silver complaints in, probability and influences out.

Reads columns of silver.complaints (intake only). Adds `probability`, `scored_with`, `influences`, `model_name`,
`model_version`; for a challenger `shadow_probability` and `shadow_version`. Grain unchanged. Everything is a Spark
expression, so batch and stream give the same results.
"""

from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.step import Step
from ml.features.pipeline import INPUTS
from ml.scoring.influences import influences, raw_logit
from ml.scoring.validation import check_input

SHOWN_INFLUENCES = 5


@dataclass(frozen=True)
class Model:
    """A fitted artifact with its name and version in the registry."""

    name: str
    version: str
    fitted: PipelineModel


def scored(model: Model) -> Step:
    """Return the step that scores complaints with a model.

    The returned step keeps every input column and adds `probability` (double, of a successful resolution),
    `scored_with` (text or structure), `influences` (array of feature and signed contribution in logits, strongest
    first), `model_name` and `model_version`.

    Raises (the returned step):
        ComplaintsError: if a column that the model reads is missing or has another type.
    """
    return _scoring_step(
        model,
        influences(model.fitted, SHOWN_INFLUENCES),
        _probability().alias("probability"),
        F.when(F.col("has_narrative"), "text").otherwise("structure").alias("scored_with"),
        F.col("influences"),
        F.lit(model.name).alias("model_name"),
        F.lit(model.version).alias("model_version"),
    )


def shadowed(challenger: Model) -> Step:
    """Return the step that scores complaints with a challenger, whose score affects no decision.

    The returned step keeps every input column and adds `shadow_probability` and `shadow_version`.

    Raises (the returned step):
        ComplaintsError: as for `scored`.
    """
    return _scoring_step(
        challenger,
        lambda transformed: transformed,
        _probability().alias("shadow_probability"),
        F.lit(challenger.version).alias("shadow_version"),
    )


def _probability() -> Column:
    return 1 / (1 + F.exp(-(F.col("slope") * raw_logit() + F.col("offset"))))


def _scoring_step(model: Model, step: Step, *added: Column) -> Step:
    """Return the step that keeps every column and adds some, computed from the artifact's output."""

    def score(complaints: DataFrame) -> DataFrame:
        check_input(complaints.schema)
        kept = [column for column in complaints.columns if column not in INPUTS]
        intake = complaints.select(*INPUTS, F.struct(*(F.col(name) for name in kept)).alias("_kept"))
        columns = (F.col(f"_kept.{name}") if name in kept else F.col(name) for name in complaints.columns)
        return model.fitted.transform(intake).transform(step).select(*columns, *added)

    return score
