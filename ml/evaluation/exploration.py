"""Explore the features: distributions, missing values, correlations, association with the outcome.

Reads silver.complaints, silver.narratives and silver.outcomes. Works on at most `MAX_ROWS` complaints on the driver.
Processing time and response flags belong to the outcome: they are analyzed separately and never become features.
"""

from dataclasses import asdict, dataclass
from itertools import combinations
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
SIGNIFICANCE = 0.01  # chance that any unrelated category is called significant, over all categories (Bonferroni)
STRONG = 0.5  # absolute correlation of two numbers that is worth reading
NUMBERS = (*FLAGS, *COUNTS, *SHARES)
OF_NARRATIVE = (*COUNTS, *SHARES)  # 0 in silver where there is no narrative, which says nothing about narratives


@dataclass(frozen=True)
class Number:
    """A numeric feature: share missing, and mean, standard deviation, range and quartiles of the rest.

    Missing are the numbers of a narrative where there is none, and the largest amount where there is no amount. All
    values are missing, and the others NaN, when no complaint has one.
    """

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
        is_significant: whether the association is significant. The model keeps all categories: regularization and
            `ml.keep_features` select among them.
    """

    feature: str
    distinct: int
    missing: float
    most_frequent: tuple[str, float] | None
    p_value: float | None
    cramers_v: float | None
    is_significant: bool


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

    @property
    def strong_correlations(self) -> list[tuple[str, str, float]]:
        """Pairs of numbers whose correlation is at least `STRONG` in absolute value, strongest first."""
        pairs = [(one, other, self.correlations[one][other]) for one, other in combinations(NUMBERS, 2)]
        return sorted((pair for pair in pairs if abs(pair[2]) >= STRONG), key=lambda pair: -abs(pair[2]))


def explored(lake: Lake) -> tuple[Exploration, pd.DataFrame]:
    """Explore the lake's complaints; also return the underlying frame (features and `label`)."""
    frame = in_pandas(examples(lake).drop("narrative").limit(MAX_ROWS))
    return profiled(frame, _outcomes(lake)), frame


def profiled(frame: pd.DataFrame, outcomes: dict[str, Any]) -> Exploration:
    """Profile a frame with the features and `label`, which is null where the outcome is unknown."""
    known = frame[frame["label"].notna()]
    numeric = _with_missing(frame[list(NUMBERS)].astype(float))
    correlations = numeric.assign(label=frame["label"].astype(float)).corr().fillna(0.0)
    return Exploration(
        rows=len(frame),
        known=len(known),
        base_rate=float(known["label"].mean()) if len(known) else None,
        numbers=tuple(_number(name, numeric[name]) for name in NUMBERS),
        categories=tuple(_category(name, frame[name], frame["label"]) for name in SINGLE),
        correlations={str(k): {str(n): float(v) for n, v in of.items()} for k, of in correlations.to_dict().items()},
        outcomes=outcomes,
    )


def _with_missing(numbers: pd.DataFrame) -> pd.DataFrame:
    of_narrative = numbers[list(OF_NARRATIVE)].where(numbers["has_narrative"] == 1)
    of_narrative["largest_amount"] = of_narrative["largest_amount"].where(of_narrative["amounts"] > 0)
    return numbers.assign(**of_narrative)


def _number(name: str, values: "pd.Series[float]") -> Number:
    low, middle, high = (float(q) for q in values.quantile([0.25, 0.5, 0.75]))
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
    is_significant = p_value is not None and p_value < SIGNIFICANCE / len(SINGLE)
    return Category(name, len(counts), float(values.isna().mean()), most, p_value, strength, is_significant)


def _association(table: pd.DataFrame) -> tuple[float | None, float | None]:
    if min(table.shape) < 2:  # noqa: PLR2004
        return None, None
    test = chi2_contingency(table.to_numpy(), correction=False)  # Yates' would understate V of two values
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
