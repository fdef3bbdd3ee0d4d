"""gold.decisions: scored complaints with the decision for each.

Reads scored complaints (`ml.scoring.scoring`); returns rows of gold.decisions. Grain: one scored complaint.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.decide import DecisionRules, decided
from gold.tables import DECISIONS, SHADOW
from lakehouse.step import Step

STAMPED = ("scored_at", "batch_id")  # added by the batch writer


def decisions(rules: DecisionRules) -> Step:
    """Return the step from scored complaints to gold.decisions rows, without the `STAMPED` columns.

    `SHADOW` columns are null when the complaints have no challenger's score.
    """
    types = {column.name: column.type for column in DECISIONS.columns}

    def decide(scored: DataFrame) -> DataFrame:
        no_shadow = {name: F.lit(None).cast(types[name]) for name in SHADOW if name not in scored.columns}
        rows = scored.transform(decided(rules)).withColumns(no_shadow)
        return rows.select([name for name in DECISIONS.column_names if name not in STAMPED])

    return decide
