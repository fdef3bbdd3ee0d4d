"""Route each refined row to exactly one of complaints, duplicates and quarantine.

Reads refined rows and verdicts on those that repeat a complaint (`silver.known_complaints`). Adds the destination and
which new information a row brings; may add a reason. Grain: one bronze row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.tables.declaration import Table
from silver.known_complaints import COMPARED, Destination, Verdict
from silver.outcomes import has_outcome, outcome_reports
from silver.refine import NARRATIVE_WITHOUT_COMPLAINT
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOME_REPORTS, QUARANTINE, REVISIONS

REFUSED = "size(reasons) > 0"  # of a refined row
# Conditions on routed rows: which of them each table gets.
ROWS_OF = {
    COMPLAINTS: "destination = 'complaints' AND NOT is_placed",
    DUPLICATES: "destination = 'duplicates' AND NOT is_placed",
    QUARANTINE: "destination = 'quarantine' AND NOT is_placed",
    REVISIONS: "brings_revision",
    NARRATIVES: "brings_narrative",
    OUTCOME_REPORTS: "brings_outcome",
}
PLACES: dict[Destination, Table] = {"complaints": COMPLAINTS, "duplicates": DUPLICATES, "quarantine": QUARANTINE}
_SQL_TYPES: Mapping[object, str] = {
    str: "string",
    str | None: "string",
    Destination: "string",
    bool: "boolean",
    int: "int",
}
VERDICT = ", ".join(f"{each.name} {_SQL_TYPES[each.type]}" for each in fields(Verdict))


def routed(rows: DataFrame, verdicts: DataFrame) -> DataFrame:
    """Add the destination to refined rows.

    Args:
        rows: refined rows.
        verdicts: rows with the fields of `Verdict`: where a row goes that repeats a complaint, or where it is already.
            A row without one is new: usable, refused, or a narrative whose complaint is unknown.

    Returns:
        The rows with `destination` (complaints, duplicates, quarantine) and `is_placed` (it is there already); for
        duplicates `kind` (unchanged, outcome, narrative, revised) and `changed_fields`, the intake fields that are
        reported and differ. A field missing from a layout is not a change. A narrative without a known complaint gets a
        reason. Also `brings_revision`, `brings_narrative` and `brings_outcome` (what silver does not have yet); for a
        revision its `version` and `is_complete`; and `first_received`, the complaint's date of receipt in silver.
    """
    prefixed = verdicts.select("record_id", *(F.col(name).alias(f"verdict_{name}") for name in verdicts.columns[1:]))
    orphan = F.col("bare_narrative") & F.col("verdict_destination").isNull()
    new = F.when(F.expr(REFUSED) | orphan, "quarantine").otherwise("complaints")
    no = F.lit(col=False)
    brings_outcome = F.coalesce("verdict_brings_outcome", ~F.expr(REFUSED) & ~orphan & has_outcome())
    received = F.date_from_unix_date("verdict_received")
    return (
        rows.join(F.broadcast(prefixed), "record_id", "left")
        .withColumns(
            {
                "first_received": F.when(F.col("verdict_kind").isNotNull(), received).otherwise(F.col("date_received")),
                "destination": F.coalesce("verdict_destination", new),
                "is_placed": F.coalesce("verdict_is_placed", no),
                "kind": F.col("verdict_kind"),
                "changed_fields": _changed_fields(F.col("verdict_changed")),
                "version": F.col("verdict_version"),
                "is_complete": F.col("verdict_is_complete"),
                "brings_revision": F.coalesce("verdict_brings_revision", no),
                "brings_narrative": F.coalesce("verdict_brings_narrative", no),
                "brings_outcome": brings_outcome,
                "reasons": F.when(orphan, F.array(F.lit(NARRATIVE_WITHOUT_COMPLAINT))).otherwise(F.col("reasons")),
            }
        )
        .drop(*(name for name in prefixed.columns if name != "record_id"))
    )


def _changed_fields(bits: Column) -> Column:
    names = (*COMPARED, "narrative")
    changed = (F.when(bits.bitwiseAND(1 << bit) != 0, F.lit(name)) for bit, name in enumerate(names))
    return F.array_compact(F.array(*changed))


def verdict_frame(spark: SparkSession, verdicts: Sequence[Verdict]) -> DataFrame:
    """Return verdicts as rows with the fields of `Verdict`."""
    columns = {each.name: [getattr(verdict, each.name) for verdict in verdicts] for each in fields(Verdict)}
    return spark.createDataFrame(pd.DataFrame(columns), VERDICT)


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


def revisions(rows: DataFrame) -> DataFrame:
    """The rows that change a known complaint's intake, as rows of silver.revisions."""
    return rows.where(ROWS_OF[REVISIONS]).select(REVISIONS.column_names)


def late_narratives(rows: DataFrame) -> DataFrame:
    """Narratives of complaints that had none, as rows of silver.narratives."""
    return rows.where(ROWS_OF[NARRATIVES]).select(NARRATIVES.column_names)


def reports(rows: DataFrame) -> DataFrame:
    """The rows that report a new or changed outcome, as rows of silver.outcome_reports."""
    return rows.where(ROWS_OF[OUTCOME_REPORTS]).transform(outcome_reports)
