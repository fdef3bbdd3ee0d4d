"""How far the challenger, which scored beside the champion, would have decided otherwise.

Reads gold.decisions and silver.complaints. Grain of what it gives: champion's version, challenger's version.
"""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.decide import DecisionRules, decided, load_decisions
from gold.tables import DECISIONS, SHADOW
from lakehouse.errors import ComplaintsError
from lakehouse.step import Step
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS

DECIDED = ("urgency", "escalate", "team", "recommended_action", "due_on")
PAIR = ("model_version", "shadow_version")


@dataclass(frozen=True)
class Agreement:
    """Two versions on the same complaints as they came.

    Attributes:
        champion: version that decided.
        challenger: version that scored beside it.
        rows: complaints that both scored.
        mean_difference: of the probabilities, challenger's minus champion's.
        mean_absolute_difference: the same without sign.
        differing: share of complaints with another urgency, escalation, team, action or deadline by the challenger's
            probability, under the rules of conf/decisions.yaml as they are now.
        until: when the last of them was scored.
    """

    champion: str
    challenger: str
    rows: int
    mean_difference: float
    mean_absolute_difference: float
    differing: float
    until: datetime


def agreements(lake: Lake) -> list[Agreement]:
    """The agreement of each pair of versions that scored the same complaints, the latest first.

    Raises:
        ComplaintsError: no complaint was scored by a challenger; says how that is switched on.
    """
    decisions = lake.read(DECISIONS)
    if not set(SHADOW) <= set(decisions.columns) or decisions.where("shadow_version IS NOT NULL").isEmpty():
        msg = (
            "No complaint was scored by a challenger yet: stream with COMPLAINTS_STREAMING__SHADOW=true while the "
            "registry has a challenger (`complaints models list`)."
        )
        raise ComplaintsError(msg)
    rules = load_decisions(lake.spark, COMPLAINTS.schema)
    both = decisions.where("shadow_version IS NOT NULL").select(
        "complaint_id", "probability", "scored_with", "scored_at", *PAIR, "shadow_probability"
    )
    rows = both.join(lake.read(COMPLAINTS), on="complaint_id").transform(_compared(rules))
    difference = F.col("shadow_probability") - F.col("probability")
    found = rows.groupBy(*PAIR).agg(
        F.count("*").alias("rows"),
        F.avg(difference).alias("mean_difference"),
        F.avg(F.abs(difference)).alias("mean_absolute_difference"),
        F.avg(F.col("differs").cast("double")).alias("differing"),
        F.max("scored_at").alias("until"),
    )
    ordered = found.orderBy(F.desc("until"), *PAIR).collect()  # bounded: a row a pair of versions
    return [Agreement(*row) for row in ordered]


def _compared(rules: DecisionRules) -> Step:
    """The step that adds `differs`: whether the challenger's probability asks for another decision."""

    def compare(scored: DataFrame) -> DataFrame:
        made = scored.transform(decided(rules)).withColumn("_made", F.struct(*DECIDED))
        beside = made.select(*scored.columns, "_made").withColumn("_champion", F.col("probability"))
        would = beside.withColumn("probability", F.col("shadow_probability")).transform(decided(rules))
        return would.select(
            *PAIR,
            "scored_at",
            F.col("_champion").alias("probability"),
            "shadow_probability",
            (~F.struct(*DECIDED).eqNullSafe(F.col("_made"))).alias("differs"),
        )

    return compare
