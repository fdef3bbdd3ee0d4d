"""Company history: how a company's earlier complaints ended, as known when a complaint arrived.

The CFPB doesn't publish the date of an answer, but expects one within 15 days (setting `ml.answer_days`): an outcome
counts as known after that. In training, each complaint sees the history as of its own day; the fitted model carries the
history as of training as a lookup table, for batch and stream alike.
"""

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.step import Step

HISTORY = "company_history"


def with_history(base_rate: float, weight: float, answer_days: int) -> Step:
    """Return the step that adds `company_history` to rows with `company`, `date_received` and `label`.

    It is the logit of the company's smoothed success rate over complaints received more than `answer_days` before this
    one, minus the logit of the base rate: 0 for a company without history.
    """
    earlier = Window.partitionBy("company").orderBy("_day").rangeBetween(Window.unboundedPreceding, -answer_days - 1)

    def add(rows: DataFrame) -> DataFrame:
        answered = F.count("label").over(earlier)
        successes = F.coalesce(F.sum("label").over(earlier), F.lit(0.0))
        return (
            rows.withColumn("_day", F.datediff("date_received", F.lit("1970-01-01")))
            .withColumn(HISTORY, _shift(successes, answered, base_rate, weight))
            .drop("_day")
        )

    return add


def lookup(rows: DataFrame, base_rate: float, weight: float) -> dict[str, float]:
    """Compute the `company_history` of each company as of the end of these complaints."""
    counted = rows.where("company IS NOT NULL").groupBy("company")
    totals = counted.agg(F.count("label").alias("answered"), F.sum("label").alias("successes"))
    shift = _shift(F.col("successes"), F.col("answered"), base_rate, weight)
    found = (
        totals.where("answered > 0").select("company", shift.alias("shift")).collect()
    )  # bounded: one row per company
    return {row.company: row["shift"] for row in found}


def _shift(successes: Column, answered: Column, base_rate: float, weight: float) -> Column:
    rate = (successes + weight * base_rate) / (answered + F.lit(weight))
    return F.ln(rate / (1 - rate)) - math.log(base_rate / (1 - base_rate))
