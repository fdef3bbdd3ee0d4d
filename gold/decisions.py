"""gold.decisions: scored complaints with what to do about them.

Reads scored complaints (`ml.scoring`); gives rows of gold.decisions. Grain: one scored complaint.
"""

from collections.abc import Callable

from pyspark.sql import DataFrame

from gold.decide import DecisionRules, decided
from gold.tables import DECISIONS

STAMPED = ("scored_at", "batch_id")  # where the batch is written


def decisions(rules: DecisionRules) -> Callable[[DataFrame], DataFrame]:
    """The step from scored complaints to rows of gold.decisions, short of `STAMPED`."""

    def decide(scored: DataFrame) -> DataFrame:
        return scored.transform(decided(rules)).select([c for c in DECISIONS.column_names if c not in STAMPED])

    return decide
