"""Apply the fitted pipeline: silver complaints in, probability and what moved it out.

Reads columns of silver.complaints (intake only). Adds `probability`, `scored_with`, `influences`, `model_name`,
`model_version`. Grain unchanged. Everything is a Spark expression: the same in batch and on the stream.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import OneHotEncoderModel, StandardScalerModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ml.pipeline import CATEGORIES, INPUTS, SHAPE

SHOWN_INFLUENCES = 5
Stage = TypeVar("Stage")

# What a feature is called in front of people; a category is shown with its value.
PLAIN = {
    "sub_product": "sub-product",
    "sub_issue": "sub-issue",
    "submitted_via": "channel",
    "consumer_consent": "consent to publish",
    "is_servicemember": "servicemember",
    "is_older_american": "older American",
    "is_weekend": "received on a weekend",
    "has_narrative": "has a narrative",
    "received_month": "month received",
    "received_weekday": "weekday received",
    "narrative_words": "length of the narrative",
    "redactions": "number of redactions",
    "redacted_share": "share of the narrative redacted",
    "amounts": "amounts of money named",
    "largest_amount": "largest amount named",
    "capitals_share": "share of capitals",
    "exclamations": "exclamation marks",
    "questions": "question marks",
}


@dataclass(frozen=True)
class Model:
    """A fitted pipeline with its place in the registry."""

    name: str
    version: str
    fitted: PipelineModel


def scored(model: Model) -> Callable[[DataFrame], DataFrame]:
    """The step that scores complaints with a model.

    The returned step keeps every input column and adds `probability` (double, of a successful resolution),
    `scored_with` (text or structure), `influences` (array of feature and signed contribution in logits, strongest
    first), `model_name` and `model_version`.
    """
    influence = _influences(model.fitted)

    def score(complaints: DataFrame) -> DataFrame:
        kept = [column for column in complaints.columns if column not in INPUTS]
        intake = complaints.select(*INPUTS, F.struct(*(F.col(name) for name in kept)).alias("_kept"))
        return model.fitted.transform(intake).select(
            *(F.col(f"_kept.{name}") if name in kept else F.col(name) for name in complaints.columns),
            vector_to_array(F.col("probability"))[1].alias("probability"),
            F.when(F.col("has_narrative"), "text").otherwise("structure").alias("scored_with"),
            influence.alias("influences"),
            F.lit(model.name).alias("model_name"),
            F.lit(model.version).alias("model_version"),
        )

    return score


def _influences(fitted: PipelineModel) -> Column:
    """Signed contributions to the logit by feature, of a linear model, as an array; strongest first.

    A contribution is coefficient times value; a block's are added up. With the intercept they sum to the logit, so the
    narrative's words together are what remains after all others.
    """
    encoder = _stage(fitted, OneHotEncoderModel)
    scaler = _stage(fitted, StandardScalerModel)
    means, deviations = scaler.mean.toArray(), scaler.std.toArray()
    linear = _stage(fitted, LogisticRegressionModel)
    coefficients = [float(value) for value in linear.coefficients.toArray()]
    parts: list[tuple[Column, Column]] = []
    start = 0
    for name, size in zip(CATEGORIES, encoder.categorySizes, strict=True):
        # `keep` adds a category for the unseen, and dropLast leaves that one without a coefficient.
        contribution = F.get(_doubles(coefficients[start : start + size]), F.col(f"index_{name}").cast("int"))
        shown = F.concat(F.lit(f"{PLAIN.get(name, name)}: "), F.col(f"cat_{name}"))
        parts.append((shown, F.coalesce(contribution, F.lit(0.0))))
        start += size
    for position, name in enumerate(SHAPE):
        factor = coefficients[start + position] / (float(deviations[position]) or 1.0)
        contribution = (F.col(f"num_{name}") - float(means[position])) * factor
        parts.append((F.lit(PLAIN[name]), contribution))
    logit = vector_to_array(F.col("rawPrediction"))[1]
    rest = logit - float(linear.intercept) - sum((c for _, c in parts), F.lit(0.0))
    parts.append((F.lit("words of the narrative"), F.when(F.col("has_narrative"), rest).otherwise(0.0)))
    entries = F.array(*(F.struct(name.alias("feature"), c.alias("contribution")) for name, c in parts))
    return F.slice(_strongest_first(entries), 1, SHOWN_INFLUENCES)


def _strongest_first(entries: Column) -> Column:
    keyed = F.transform(
        entries,
        lambda e: F.struct(
            (-F.abs(e.contribution)).alias("rank"), e.feature.alias("feature"), e.contribution.alias("contribution")
        ),
    )
    return F.transform(
        F.sort_array(keyed), lambda e: F.struct(e.feature.alias("feature"), e.contribution.alias("contribution"))
    )


def _doubles(values: Sequence[float]) -> Column:
    """An array literal; written as JSON, which the optimiser folds into one constant instead of thousands."""
    return F.from_json(F.lit(json.dumps(list(values))), "array<double>")


def _stage(fitted: PipelineModel, kind: type[Stage]) -> Stage:
    return next(stage for stage in fitted.stages if isinstance(stage, kind))
