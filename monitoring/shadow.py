"""Compare the challenger's shadow scores with the champion's decisions.

Reads gold.decisions and silver.complaints. Grain of the result: one pair of champion and challenger versions.
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
    """Two versions compared on the same live complaints.

    Attributes:
        champion: version that decided.
        challenger: version that scored in shadow.
        rows: complaints that both scored.
        mean_difference: mean of the challenger's probability minus the champion's.
        mean_absolute_difference: mean of the absolute difference.
        differing: share of complaints whose urgency, escalation, team, action or deadline would differ with the
            challenger's probability, under the current rules of conf/decisions.yaml.
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
    """Return the agreement of each pair of versions that scored the same complaints, latest first.

    Raises:
        ComplaintsError: no complaint was scored by a challenger; the message says how to enable it.
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
    ordered = found.orderBy(F.desc("until"), *PAIR).collect()  # bounded: one row per pair of versions
    return [Agreement(*row) for row in ordered]


def _compared(rules: DecisionRules) -> Step:
    """Return the step that adds `differs`: whether the challenger's probability leads to another decision."""

    def compare(scored: DataFrame) -> DataFrame:
        made = scored.transform(decided(rules)).withColumn("_made", F.struct(*DECIDED))
        champion = made.select(*scored.columns, "_made").withColumn("_champion", F.col("probability"))
        challenger = champion.withColumn("probability", F.col("shadow_probability")).transform(decided(rules))
        return challenger.select(
            *PAIR,
            "scored_at",
            F.col("_champion").alias("probability"),
            "shadow_probability",
            (~F.struct(*DECIDED).eqNullSafe(F.col("_made"))).alias("differs"),
        )

    return compare
