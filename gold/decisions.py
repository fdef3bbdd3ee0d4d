"""gold.decisions: scored complaints with what to do about them.

Reads scored complaints (`ml.scoring.scoring`); gives rows of gold.decisions. Grain: one scored complaint.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.decide import DecisionRules, decided
from gold.tables import DECISIONS, SHADOW
from lakehouse.step import Step

STAMPED = ("scored_at", "batch_id")  # where the batch is written


def decisions(rules: DecisionRules) -> Step:
    """The step from scored complaints to rows of gold.decisions, short of `STAMPED`; `SHADOW` null where it is not."""
    types = {column.name: column.type for column in DECISIONS.columns}

    def decide(scored: DataFrame) -> DataFrame:
        unshadowed = {name: F.lit(None).cast(types[name]) for name in SHADOW if name not in scored.columns}
        rows = scored.transform(decided(rules)).withColumns(unshadowed)
        return rows.select([name for name in DECISIONS.column_names if name not in STAMPED])

    return decide
