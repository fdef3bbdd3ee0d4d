"""Feature influences: signed contributions to the logit of a score, with readable feature names.

In a linear model, a contribution is calibration slope times coefficient times value. Together with the intercept,
contributions sum to the logit, so the narrative's words (and embedding, if any) get what remains after all others.
"""

import json
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import MaxAbsScalerModel, OneHotEncoderModel, VectorAssembler, VectorSlicer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse.step import Step
from ml.features.pipeline import CATEGORIES

Stage = TypeVar("Stage")
NONE = "array<struct<feature:string,contribution:double>>"
WORDS = "words of the narrative"

# Display names of features; a category is shown with its value.
PLAIN = {
    "sub_product": "sub-product",
    "sub_issue": "sub-issue",
    "submitted_via": "channel",
    "consumer_consent": "consent to publish",
    "received_month": "month received",
    "received_weekday": "weekday received, 1 = Sunday",
    "company_and_product": "company and product",
    "company_and_issue": "company and issue",
    "product_and_issue": "product and issue",
    "is_servicemember": "servicemember",
    "is_older_american": "older American",
    "is_weekend": "received on a weekend",
    "has_narrative": "has a narrative",
    "narrative_words": "length of the narrative",
    "redactions": "number of redactions",
    "redacted_share": "share of the narrative redacted",
    "amounts": "amounts of money named",
    "largest_amount": "largest amount named",
    "capitals_share": "share of capitals",
    "exclamations": "exclamation marks",
    "questions": "question marks",
    "sentiment": "negative sentiment of the narrative",
    "company_history": "how the company's earlier complaints ended",
}


def influences(fitted: PipelineModel, shown: int) -> Step:
    """Return the step that adds `influences` to the artifact's output: contributions, strongest first.

    Args:
        fitted: the artifact; if its model isn't linear, the array is empty.
        shown: maximum number of influences per complaint.
    """
    entries = _entries(fitted)
    if entries is None:
        return lambda frame: frame.withColumn("influences", F.array().cast(NONE))
    places = range(min(shown, len(entries)))
    strongest = F.array(*(_shown(F.get("_ranked", F.lit(place))) for place in places))
    # Two steps and no lambda: Spark evaluates a lambda and its argument without code generation.
    ranked = F.sort_array(F.array(*entries))
    return lambda frame: frame.withColumn("_ranked", ranked).withColumn("influences", strongest).drop("_ranked")


def contributions(fitted: PipelineModel) -> Column | None:
    """Return an array of every feature's `rank` (negative magnitude), `feature` and `contribution`.

    It is an expression over the artifact's output; None if the model isn't linear.
    """
    entries = _entries(fitted)
    return None if entries is None else F.array(*entries)


def _entries(fitted: PipelineModel) -> list[Column] | None:
    linear = stage_of(fitted, LogisticRegressionModel)
    if linear is None:
        return None
    parts = _parts(fitted, linear)
    slope = F.col("slope")
    rest = raw_logit() - float(linear.intercept) - sum((c for _, _, c in parts), F.lit(0.0))
    parts.append((WORDS, F.lit(WORDS), F.when(F.col("has_narrative"), rest).otherwise(0.0)))
    return [_entry(shown_as, slope * contribution) for _, shown_as, contribution in parts]


def raw_logit() -> Column:
    """The raw logit of a success."""
    return vector_to_array(F.col("rawPrediction"))[1]


def _parts(fitted: PipelineModel, linear: LogisticRegressionModel) -> list[tuple[str, Column, Column]]:
    """Name, display name and raw contribution of each feature except the words."""
    encoder, scaler = stage_of(fitted, OneHotEncoderModel), stage_of(fitted, MaxAbsScalerModel)
    numbers = stage_of(fitted, VectorAssembler)
    if encoder is None or scaler is None or numbers is None:
        msg = "the model has no categories or numbers"
        raise RuntimeError(msg)
    coefficients = _coefficients(fitted, linear)
    parts: list[tuple[str, Column, Column]] = []
    start = 0
    for name, size in zip(CATEGORIES, encoder.categorySizes, strict=True):
        # `keep` adds a category for unseen values, and dropLast leaves it without a coefficient.
        contribution = F.get(_doubles(coefficients[start : start + size]), F.col(f"index_{name}").cast("int"))
        shown = F.concat(F.lit(f"{PLAIN.get(name, name)}: "), F.col(f"cat_{name}"))
        parts.append((name, shown, F.coalesce(contribution, F.lit(0.0))))
        start += size
    for column, coefficient, largest in zip(
        numbers.getInputCols(), coefficients[start:], scaler.maxAbs.toArray(), strict=False
    ):
        name = column.removeprefix("num_")
        factor = coefficient / (float(largest) or 1.0)
        parts.append((name, F.lit(PLAIN[name]), F.col(column) * factor))
    return parts


def _entry(shown_as: Column, contribution: Column) -> Column:
    """A contribution that sorts by magnitude, largest first."""
    rank = (-F.abs(contribution)).alias("rank")
    return F.struct(rank, shown_as.alias("feature"), contribution.alias("contribution"))


def _shown(entry: Column) -> Column:
    return F.struct(entry["feature"].alias("feature"), entry["contribution"].alias("contribution"))


def _coefficients(fitted: PipelineModel, linear: LogisticRegressionModel) -> list[float]:
    """The coefficients by position in `features`; 0 for a feature that was left out."""
    values = linear.coefficients.toArray()
    slicer = stage_of(fitted, VectorSlicer)
    if slicer is None:
        return [float(value) for value in values]
    places = slicer.getIndices()
    whole = np.zeros(max(places) + 1)
    whole[places] = values
    return [float(value) for value in whole]


def _doubles(values: Sequence[float]) -> Column:
    """An array literal; written as JSON, which the optimizer folds into one constant instead of thousands."""
    return F.from_json(F.lit(json.dumps(list(values))), "array<double>")


def stage_of(fitted: PipelineModel, kind: type[Stage]) -> Stage | None:
    """Return the first fitted stage of a type, or None."""
    return next((stage for stage in fitted.stages if isinstance(stage, kind)), None)
