"""Explore the features: distributions, missing values, correlations, association with the outcome.

Reads silver.complaints, silver.narratives and silver.outcomes. Works on at most `MAX_ROWS` complaints on the driver.
Processing time and response flags belong to the outcome: they are analyzed separately and never become features.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F
from scipy.stats import chi2_contingency

from lakehouse.tables.lake import Lake
from ml.data.examples import examples
from ml.evaluation.importance import in_pandas
from ml.features.pipeline import COUNTS, FLAGS, SHARES, SINGLE
from silver.tables import OUTCOMES

MAX_ROWS = 100_000
SIGNIFICANCE = 0.01  # chance that any irrelevant category is selected, over all categories (Bonferroni)
NUMBERS = (*FLAGS, *COUNTS, *SHARES)


@dataclass(frozen=True)
class Number:
    """A numeric feature: share missing, mean, standard deviation, range, quartiles."""

    feature: str
    missing: float
    mean: float
    deviation: float
    minimum: float
    quartiles: tuple[float, float, float]
    maximum: float


@dataclass(frozen=True)
class Category:
    """A categorical feature: values, share missing, and association with the label.

    Attributes:
        feature: name of the feature.
        distinct: number of distinct values.
        missing: share without a value.
        most_frequent: the most frequent value, with its share.
        p_value: p-value of Pearson's chi-square test of independence from the label; None if it can't be tested.
        cramers_v: strength of the association, 0 to 1 (Cramér 1946).
        is_selected: whether the association is significant.
    """

    feature: str
    distinct: int
    missing: float
    most_frequent: tuple[str, float] | None
    p_value: float | None
    cramers_v: float | None
    is_selected: bool


@dataclass(frozen=True)
class Exploration:
    """Result of an exploration."""

    rows: int
    known: int
    base_rate: float | None
    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    correlations: dict[str, dict[str, float]]
    outcomes: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the exploration as one object."""
        return asdict(self)


def explored(lake: Lake) -> tuple[Exploration, pd.DataFrame]:
    """Explore the lake's complaints; also return the underlying frame (features and `label`)."""
    frame = in_pandas(examples(lake).drop("narrative").limit(MAX_ROWS))
    known = frame[frame["label"].notna()]
    numeric = frame[list(NUMBERS)].astype(float)
    correlations = numeric.assign(label=frame["label"]).corr().fillna(0.0)
    exploration = Exploration(
        rows=len(frame),
        known=len(known),
        base_rate=float(known["label"].mean()) if len(known) else None,
        numbers=tuple(_number(name, numeric[name]) for name in NUMBERS),
        categories=tuple(_category(name, frame[name], frame["label"]) for name in SINGLE),
        correlations={str(k): {str(n): float(v) for n, v in of.items()} for k, of in correlations.to_dict().items()},
        outcomes=_outcomes(lake),
    )
    return exploration, frame


def _number(name: str, values: "pd.Series[float]") -> Number:
    low, middle, high = (float(q) for q in np.nanquantile(values, [0.25, 0.5, 0.75]))
    missing = float(values.isna().mean())
    extremes = float(values.min()), float(values.max())
    return Number(
        name, missing, float(values.mean()), float(values.std()), extremes[0], (low, middle, high), extremes[1]
    )


def _category(name: str, values: "pd.Series[Any]", label: "pd.Series[float]") -> Category:
    counts = values.value_counts()
    most = (str(counts.index[0]), float(counts.iloc[0] / len(values))) if len(counts) else None
    table = pd.crosstab(values.fillna("not given").astype(str), label)
    p_value, strength = _association(table)
    selected = p_value is not None and p_value < SIGNIFICANCE / len(SINGLE)
    return Category(name, len(counts), float(values.isna().mean()), most, p_value, strength, selected)


def _association(table: pd.DataFrame) -> tuple[float | None, float | None]:
    if min(table.shape) < 2:  # noqa: PLR2004
        return None, None
    test = chi2_contingency(table.to_numpy())
    return float(test.pvalue), float(np.sqrt(test.statistic / table.to_numpy().sum() / (min(table.shape) - 1)))


def _outcomes(lake: Lake) -> dict[str, Any]:
    """Summarize the outcomes: answers, days until sent to the company, timeliness, disputes."""
    rows = lake.read(OUTCOMES)
    by_answer = rows.groupBy(F.coalesce("response_class", F.lit("unknown")).alias("answer")).count()
    answers = by_answer.orderBy(F.desc("count")).collect()  # bounded: one row per class
    share = {name: F.avg(F.col(name).cast("double")).alias(name) for name in ("timely_response", "consumer_disputed")}
    days = F.percentile_approx("processing_days", [0.5, 0.9, 0.99]).alias("days")
    row = rows.agg(*share.values(), days).collect()[0]
    return {
        "answers": {one.answer: one["count"] for one in answers},
        **{name: row[name] for name in share},
        "days_to_company": dict(zip(("p50", "p90", "p99"), row.days or [], strict=False)),
    }
