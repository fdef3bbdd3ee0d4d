"""gold.decisions: scored complaints with the decision for each.

Reads scored complaints (`ml.scoring.scoring`); returns rows of gold.decisions. Grain: one version of a complaint.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.decide import DecisionRules, decided
from gold.tables import DECISIONS, REPLACED, SHADOW
from lakehouse.step import Step

STAMPED = ("scored_at", "batch_id")  # added by the batch writer


def decisions(rules: DecisionRules) -> Step:
    """Return the step from scored complaints to gold.decisions rows, without the `STAMPED` columns.

    `SHADOW` columns are null when the complaints have no challenger's score. Complaints without a `version` are first
    intakes. `replaces` is null: `replacing` adds it.
    """
    types = {column.name: column.type for column in DECISIONS.columns}

    def decide(scored: DataFrame) -> DataFrame:
        first = {} if "version" in scored.columns else {"version": F.lit(1)}
        nothing = {name: F.lit(None).cast(types[name]) for name in (*SHADOW, "replaces") if name not in scored.columns}
        rows = scored.transform(decided(rules)).withColumns(first | nothing)
        return rows.select([name for name in DECISIONS.column_names if name not in STAMPED])

    return decide


def replacing(decisions: DataFrame, earlier: DataFrame) -> DataFrame:
    """Link decisions on later versions to those they replace.

    The earlier due day stands, so that nobody loses a deadline by a revision.

    Args:
        decisions: rows as returned by `decisions`.
        earlier: rows of gold.decisions: of each complaint the one that is replaced.

    Returns:
        The decisions that have an earlier one.
    """
    version = F.coalesce("version", F.lit(1))
    kept = F.struct(*((version if name == "version" else F.col(name)).alias(name) for name in REPLACED))
    replaced = F.broadcast(earlier.select("complaint_id", kept.alias("_replaced")))
    return (
        decisions.join(replaced, "complaint_id")
        .withColumns({"replaces": F.col("_replaced"), "due_on": F.least("due_on", "_replaced.due_on")})
        .select(decisions.columns)
    )
