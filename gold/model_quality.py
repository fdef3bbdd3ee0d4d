"""gold.model_quality: weekly quality of each model version, and drift against its training data.

Reads rows of gold.decisions (`decided`, with `label` where the outcome is known); returns rows of gold.model_quality.
Grain: model version, week of receipt, measure, feature.
"""

import json
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.step import Step

ALERT = 0.2  # population stability index above which a change is large (Siddiqi 2006)
TOLERATED_ECE = 0.1
FEWEST = 30  # rows per week, below which a metric would be noise
# New complaints per week for an alert: with some twenty values the index of a random sample of n is about 20 / n.
FEWEST_FOR_ALERT = 1_000
FEWEST_PER_VALUE = 5  # expected rows of a value; rarer values are compared together (the rule of the chi-squared test)
LEAST_ROWS = 0.5  # stands for no row, as the logarithm of a share of zero is undefined
BINS = 10
KEYS = ("model_name", "model_version", "week")


def with_week(decided: DataFrame) -> DataFrame:
    """Add `week`, the Monday of the week in which a complaint was received."""
    return decided.withColumn("week", F.to_date(F.date_trunc("week", "date_received")))


def quality(decided: DataFrame) -> DataFrame:
    """Compute AUC-ROC, expected calibration error and base rate by version and week.

    Args:
        decided: decisions with `week`, `label` (1.0, 0.0, or null while unknown) and `is_new` (whether the complaint
            arrived after the version was trained) on complaints that the version was not trained on.
    """
    known = decided.where("label IS NOT NULL")
    by = Window.partitionBy(*KEYS)
    ranked = known.withColumns(
        {
            "_rank": F.rank().over(by.orderBy("probability"))
            + (F.count("*").over(Window.partitionBy(*KEYS, "probability")) - 1) / 2,
            "_bin": F.least(F.floor(F.col("probability") * BINS), F.lit(BINS - 1)),
        }
    )
    gaps = ranked.groupBy(*KEYS, "_bin").agg(F.abs(F.sum(F.col("probability") - F.col("label"))).alias("_gap"))
    errors = gaps.groupBy(*KEYS).agg(F.sum("_gap").alias("_gaps"))
    positive, rows = F.sum("label"), F.count("*")
    # The rank statistic of Mann and Whitney (1947), with ties counted as half.
    pairs = positive * (rows - positive)
    auc = F.when(pairs > 0, (F.sum(F.col("_rank") * F.col("label")) - positive * (positive + 1) / 2) / pairs)
    metrics = ranked.groupBy(*KEYS).agg(
        rows.alias("rows"), auc.alias("auc_roc"), F.avg("label").alias("base_rate"), _counts_for_alerts()
    )
    combined = metrics.join(errors, on=list(KEYS)).withColumn("ece", F.col("_gaps") / F.col("rows"))
    long = F.explode(
        F.array(
            _entry("auc_roc", F.col("auc_roc"), F.lit(col=False)),
            _entry("ece", F.col("ece"), (F.col("ece") > TOLERATED_ECE) & F.col("_counts")),
            _entry("base_rate", F.col("base_rate"), F.lit(col=False)),
        )
    )
    return (
        combined.where(F.col("rows") >= FEWEST)
        .select(*KEYS, "rows", long.alias("m"))
        .select(*KEYS, "m.measure", F.lit("").alias("feature"), "rows", "m.value", "m.is_alert")
        .where("value IS NOT NULL")
    )


def stability(edges: Sequence[float], shares: Mapping[str, Mapping[str, float]], other: str) -> Step:
    """Return the step that computes the population stability index of one version's scores and features.

    The index is the sum over a feature's values of (share now - share then) * ln(share now / share then). Values that
    are expected in fewer than `FEWEST_PER_VALUE` rows of a week are compared together. Raises an alert only for a week
    with `FEWEST_FOR_ALERT` complaints that arrived after the version was trained: others can't have changed since.

    Args:
        edges: edges of the probability deciles.
        shares: feature to value to share in training; `probability` by decile, from "0".
        other: stands for all values that are not in `shares`.
    """
    decile = sum((F.when(F.col("probability") >= edge, 1).otherwise(0) for edge in edges), F.lit(0)).cast("string")
    then = F.from_json(F.lit(json.dumps({name: dict(values) for name, values in shares.items()})), _MAPS)

    def compare(decided: DataFrame) -> DataFrame:
        pairs = [
            F.struct(F.lit(name).alias("feature"), (decile if name == "probability" else _value(name)).alias("value"))
            for name in shares
        ]
        seen = decided.select(*KEYS, "is_new", F.explode(F.array(*pairs)).alias("p"))
        seen = seen.select(*KEYS, "is_new", "p.feature", "p.value")
        named = F.when(then[F.col("feature")][F.col("value")].isNotNull(), F.col("value")).otherwise(other)
        counted = seen.groupBy(*KEYS, "feature", named.alias("value")).agg(
            F.count("*").alias("count"), _new().alias("new")
        )
        week = counted.groupBy(*KEYS, "feature").agg(
            F.map_from_entries(F.collect_list(F.struct("value", "count"))).alias("counts"),
            F.sum("count").alias("rows"),
            (F.sum("new") >= FEWEST_FOR_ALERT).alias("_counts"),
        )
        index = _index(then[F.col("feature")], other)
        return week.where(F.col("rows") >= FEWEST).select(
            *KEYS,
            F.lit("population_stability").alias("measure"),
            "feature",
            "rows",
            index.alias("value"),
            ((index > ALERT) & F.col("_counts")).alias("is_alert"),
        )

    return compare


_MAPS = "map<string,map<string,double>>"


def _value(name: str) -> Column:
    return F.coalesce(F.col(name).cast("string"), F.lit(""))


def _index(then: Column, other: str) -> Column:
    """Return the index of a week with `counts` by value and `rows`, against the shares in training."""
    rows, counts = F.col("rows"), F.col("counts")
    frequent = F.map_filter(then, lambda value, share: (value != other) & (share * rows >= FEWEST_PER_VALUE))
    now = F.transform_values(frequent, lambda value, _: F.coalesce(counts[value], F.lit(0)) / rows)
    terms = F.aggregate(
        F.map_entries(frequent), F.lit(0.0), lambda total, entry: total + _term(now[entry.key], entry.value, rows)
    )
    return terms + _term(1 - _total(now), 1 - _total(frequent), rows)


def _total(shares: Column) -> Column:
    return F.aggregate(F.map_values(shares), F.lit(0.0), lambda total, share: total + share)


def _term(now: Column, then: Column, rows: Column) -> Column:
    now, then = F.greatest(now, LEAST_ROWS / rows), F.greatest(then, LEAST_ROWS / rows)
    return (now - then) * F.ln(now / then)


def _new() -> Column:
    return F.count(F.when(F.col("is_new"), 1))


def _counts_for_alerts() -> Column:
    return (_new() >= FEWEST_FOR_ALERT).alias("_counts")


def _entry(name: str, value: Column, is_alert: Column) -> Column:
    return F.struct(F.lit(name).alias("measure"), value.alias("value"), is_alert.alias("is_alert"))
