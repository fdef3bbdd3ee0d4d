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
MIN_SHARE = 1e-4  # stands for a share of zero, whose logarithm is undefined
BINS = 10
KEYS = ("model_name", "model_version", "week")


def with_week(decided: DataFrame) -> DataFrame:
    """Add `week`, the Monday of the week in which a complaint was received."""
    return decided.withColumn("week", F.to_date(F.date_trunc("week", "date_received")))


def quality(decided: DataFrame) -> DataFrame:
    """Compute AUC-ROC, expected calibration error and base rate by version and week.

    Args:
        decided: decisions with `week` and `label` (1.0, 0.0, or null while unknown) on complaints that the version was
            not trained on.
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
    metrics = ranked.groupBy(*KEYS).agg(rows.alias("rows"), auc.alias("auc_roc"), F.avg("label").alias("base_rate"))
    combined = metrics.join(errors, on=list(KEYS)).withColumn("ece", F.col("_gaps") / F.col("rows"))
    long = F.explode(
        F.array(
            _entry("auc_roc", F.col("auc_roc"), F.lit(col=False)),
            _entry("ece", F.col("ece"), F.col("ece") > TOLERATED_ECE),
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

    The index is the sum over a feature's values of (share now - share then) * ln(share now / share then).

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
        seen = decided.select(*KEYS, F.explode(F.array(*pairs)).alias("p")).select(*KEYS, "p.feature", "p.value")
        named = F.when(then[F.col("feature")][F.col("value")].isNotNull(), F.col("value")).otherwise(other)
        counted = seen.groupBy(*KEYS, "feature", named.alias("value")).count()
        week = counted.groupBy(*KEYS, "feature").agg(
            F.map_from_entries(F.collect_list(F.struct("value", "count"))).alias("counts"), F.sum("count").alias("rows")
        )
        terms = F.aggregate(
            F.map_entries(then[F.col("feature")]),
            F.lit(0.0),
            lambda total, entry: total + _term(F.col("counts")[entry.key] / F.col("rows"), entry.value),
        )
        return week.where(F.col("rows") >= FEWEST).select(
            *KEYS,
            F.lit("population_stability").alias("measure"),
            "feature",
            "rows",
            terms.alias("value"),
            (terms > ALERT).alias("is_alert"),
        )

    return compare


_MAPS = "map<string,map<string,double>>"


def _value(name: str) -> Column:
    return F.coalesce(F.col(name).cast("string"), F.lit(""))


def _term(now: Column, then: Column) -> Column:
    now, then = F.greatest(F.coalesce(now, F.lit(0.0)), F.lit(MIN_SHARE)), F.greatest(then, F.lit(MIN_SHARE))
    return (now - then) * F.ln(now / then)


def _entry(name: str, value: Column, is_alert: Column) -> Column:
    return F.struct(F.lit(name).alias("measure"), value.alias("value"), is_alert.alias("is_alert"))
