"""Route each refined row to exactly one of complaints, duplicates and quarantine.

Reads refined rows and what silver holds about their complaints. Adds the destination and which new information a row
brings; may add a reason. Grain: one bronze row.
"""

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from silver.fields import INTAKE
from silver.outcomes import NOT_FINAL, REPORTED, is_stale, last_reported
from silver.refine import NARRATIVE_WITHOUT_COMPLAINT
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOMES, QUARANTINE

# Conditions on refined rows.
REFUSED = "size(reasons) > 0"
USABLE = "size(reasons) = 0 AND NOT bare_narrative"  # a bare narrative needs a complaint that is known
# Conditions on routed rows: which of them each table gets.
ROWS_OF = {
    COMPLAINTS: "destination = 'complaints'",
    DUPLICATES: "destination = 'duplicates'",
    QUARANTINE: "destination = 'quarantine'",
    NARRATIVES: "destination = 'duplicates' AND brings_narrative",
    OUTCOMES: "brings_outcome",
}
ACCEPTED = "destination <> 'quarantine'"
COMPARED = tuple(field.name for field in INTAKE if field.name not in {"complaint_id", "narrative"})


def routed_without_repeats(rows: DataFrame) -> DataFrame:
    """Route rows like `routed` when no complaint is known or occurs twice, so there is nothing to compare."""
    return rows.withColumns(
        {
            "destination": F.when(F.expr(REFUSED), "quarantine").otherwise("complaints"),
            "kind": F.lit(None).cast("string"),
            "changed_fields": F.array().cast("array<string>"),
            "brings_narrative": F.lit(col=False),
        }
    )


def routed(rows: DataFrame, complaints: DataFrame, narratives: DataFrame, outcomes: DataFrame) -> DataFrame:
    """Add the destination to refined rows.

    Args:
        rows: refined rows with `position`.
        complaints: rows of silver.complaints for the same complaints.
        narratives: rows of silver.narratives for the same complaints.
        outcomes: rows of silver.outcomes for the same complaints.

    Returns:
        The rows with `destination` (complaints, duplicates, quarantine); for duplicates `kind` (unchanged, outcome,
        narrative, revised) and `changed_fields`, the intake fields that are reported and differ. A field missing from a
        layout is not a change. A bare narrative without a known complaint gets a reason. Also `brings_narrative` and
        `brings_outcome` (new information, for a row that isn't refused), and `first_received`, the complaint's date of
        receipt in silver. Rows are compared with what was known before the batch and with the first row of a new
        complaint.
    """
    first = Window.partitionBy("complaint_id").orderBy(F.col("usable").desc(), "position")
    own = F.struct("usable", _known(F.col("narrative"), _outcome(F.col("arrived_at"))).alias("known"))
    numbered = rows.withColumn("usable", F.expr(USABLE)).withColumns(
        {"turn": F.row_number().over(first), "first": F.first(own).over(first)}
    )
    joined = numbered.join(_stored(complaints, narratives, outcomes), on="complaint_id", how="left").withColumn(
        "known", F.coalesce("stored", F.when(F.col("first.usable"), F.col("first.known")))
    )
    return (
        joined.withColumns(
            {
                "reasons": F.when(
                    F.col("bare_narrative") & F.col("known").isNull(), F.array(F.lit(NARRATIVE_WITHOUT_COMPLAINT))
                ).otherwise(F.col("reasons")),
                "is_new": F.col("usable") & (F.col("turn") == 1) & (F.col("known.record_id") == F.col("record_id")),
                "changed_fields": _changed_fields(),
                "brings_narrative": F.col("narrative").isNotNull() & F.col("known.narrative").isNull(),
                "first_received": F.coalesce("known.intake.date_received", "date_received"),
            }
        )
        .withColumns(
            {
                "destination": F.when(F.expr(REFUSED), "quarantine")
                .when(F.col("is_new"), "complaints")
                .otherwise("duplicates"),
                "brings_outcome": ~F.expr(REFUSED) & _brings_outcome(),
            }
        )
        .withColumn("kind", F.when(F.col("destination") == "duplicates", _kind()))
        .drop("usable", "turn", "first", "stored", "known", "is_new")
    )


def _known(narrative: Column, outcome: Column) -> Column:
    return F.struct(
        F.struct(*COMPARED).alias("intake"), narrative.alias("narrative"), outcome.alias("outcome"), "record_id"
    )


def _outcome(reported_at: Column) -> Column:
    return F.struct(*REPORTED, "response_class", "is_final", reported_at.alias("reported_at"))


def _stored(complaints: DataFrame, narratives: DataFrame, outcomes: DataFrame) -> DataFrame:
    later = narratives.groupBy("complaint_id").agg(F.min("narrative").alias("later"))
    reported = outcomes.select("complaint_id", _outcome(last_reported()).alias("reported"))
    joined = complaints.join(later, on="complaint_id", how="left").join(reported, on="complaint_id", how="left")
    return joined.select("complaint_id", _known(F.coalesce("narrative", "later"), F.col("reported")).alias("stored"))


def _changed_fields() -> Column:
    reported_and_other = (
        F.when(F.col(name).isNotNull() & ~F.col(name).eqNullSafe(F.col(f"known.intake.{name}")), F.lit(name))
        for name in COMPARED
    )
    both = F.col("narrative").isNotNull() & F.col("known.narrative").isNotNull()
    other_text = F.when(both & (F.col("narrative") != F.col("known.narrative")), F.lit("narrative"))
    return F.array_compact(F.array(*reported_and_other, other_text))


def _brings_outcome() -> Column:
    """Whether a row reports an outcome field that is new or newer than the known value."""
    outcome = F.col("known.outcome")
    is_later = F.coalesce(F.col("arrived_at") >= outcome.reported_at, F.lit(col=True))
    ends_it = F.col("is_final") & F.coalesce(outcome.response_class == NOT_FINAL, F.lit(col=False))
    is_fresh = (is_later | ends_it) & ~is_stale(outcome.is_final)
    news = []
    for name in REPORTED:
        reported, known = F.col(name), F.col(f"known.outcome.{name}")
        news.append(reported.isNotNull() & (F.col("is_new") | known.isNull() | (is_fresh & (reported != known))))
    return F.coalesce(reduce(or_, news), F.lit(col=False))


def _kind() -> Column:
    return (
        F.when(F.size("changed_fields") > 0, "revised")
        .when(F.col("brings_narrative"), "narrative")
        .when(F.col("brings_outcome"), "outcome")
        .otherwise("unchanged")
    )


def complaints(rows: DataFrame) -> DataFrame:
    """The rows that are new complaints, as rows of silver.complaints."""
    return rows.where(ROWS_OF[COMPLAINTS]).select(COMPLAINTS.column_names)


def duplicates(rows: DataFrame) -> DataFrame:
    """The rows that repeat a known complaint, as rows of silver.duplicates."""
    return rows.where(ROWS_OF[DUPLICATES]).select(DUPLICATES.column_names)


def quarantine(rows: DataFrame) -> DataFrame:
    """The refused rows, as rows of silver.quarantine."""
    return (
        rows.where(ROWS_OF[QUARANTINE])
        .withColumn("replayed_at", F.lit(None).cast("timestamp"))
        .select(QUARANTINE.column_names)
    )


def late_narratives(rows: DataFrame) -> DataFrame:
    """Narratives of complaints that had none, as rows of silver.narratives; the first of several."""
    late = rows.where(ROWS_OF[NARRATIVES])
    turn = F.row_number().over(Window.partitionBy("complaint_id").orderBy("position"))
    return late.withColumn("turn", turn).where("turn = 1").select(NARRATIVES.column_names)
