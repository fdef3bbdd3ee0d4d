"""Outcomes: what became known after a complaint arrived, and the facts derived from it.

Reads refined rows; returns rows of silver.outcome_reports (grain: one row of bronze) and silver.outcomes (grain: one
complaint with an outcome). No column here may reach the model as a feature.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.step import Step
from silver.fields import OUTCOME
from silver.tables import ABOUT, OUTCOME_REPORTS, OUTCOMES

RELIEF = ("monetary_relief", "non_monetary_relief", "relief")
NOT_FINAL = "in_progress"

REPORTED = tuple(field.name for field in OUTCOME)
ANSWER = ("company_response", "response_class")  # taken from the same row, so the class always matches the text
_MERGED = (
    "complaint_id", *REPORTED, "response_class", "is_final", "record_id", "observed_at", "reported_at", "stored",
    "position", "processing_days", *ABOUT,
)  # fmt: skip


def with_outcome_facts(successful_resolution: str) -> Step:
    """Return the step that derives facts from the outcome fields.

    Args:
        successful_resolution: SQL over the outcome columns, the setting `silver.successful_resolution`.

    The returned step reads the five outcome fields, `response_class` and `date_received`, and adds `is_final`,
    `is_relief`, `is_monetary_relief` (both null while not final), `processing_days` and `successful_resolution`.
    """

    def derive(rows: DataFrame) -> DataFrame:
        final = F.coalesce(F.col("response_class") != NOT_FINAL, F.lit(col=False))
        return rows.withColumns(
            {
                "is_final": final,
                "is_relief": F.when(final, F.col("response_class").isin(*RELIEF)),
                "is_monetary_relief": F.when(final, F.col("response_class") == "monetary_relief"),
                "processing_days": F.datediff("date_sent_to_company", "date_received"),
            }
        ).withColumn("successful_resolution", F.expr(successful_resolution).cast("boolean"))

    return derive


def has_outcome() -> Column:
    """Whether a refined row reports any outcome field."""
    return F.coalesce(*(F.col(name).cast("string") for name in REPORTED)).isNotNull()


def outcome_reports(rows: DataFrame) -> DataFrame:
    """Refined rows as rows of silver.outcome_reports, one per input row.

    The rows have the outcome's facts (`with_outcome_facts`) and `first_received`, the date of receipt that silver has.
    """
    received = F.col("first_received")
    about = {name: received if intake == "date_received" else F.col(intake) for name, intake in ABOUT.items()}
    days = {"processing_days": F.datediff("date_sent_to_company", received)}
    times = {"observed_at": F.col("refined_at"), "reported_at": F.col("arrived_at")}
    return rows.withColumns({**about, **days, **times}).select(OUTCOME_REPORTS.column_names)


def last_reported() -> Column:
    """When the newest report in a silver.outcomes row arrived; the read time if an older version wrote it."""
    return F.coalesce("reported_at", "observed_at")


def is_stale(known_is_final: Column) -> Column:
    """Whether a row is "in progress" although a final answer is known: it is older, whenever it arrived."""
    return F.coalesce((F.col("response_class") == NOT_FINAL) & known_is_final, F.lit(col=False))


def latest_outcomes(reports: DataFrame, stored: DataFrame, successful_resolution: str) -> DataFrame:
    """Merge outcome reports into the stored outcomes; return what is new or changed.

    Args:
        reports: rows of silver.outcome_reports, any number per complaint.
        stored: rows of silver.outcomes for these complaints.
        successful_resolution: the setting `silver.successful_resolution`.

    Returns:
        Rows of silver.outcomes, one per complaint whose outcome is new or has changed. A field that is not reported
        keeps its known value. A row that arrived before the newest known report fills in missing fields and replaces
        nothing. Values reported while the answer was in progress never replace those reported with a final answer. The
        columns that describe the complaint keep the values that were reported first.
    """
    reported = reports.transform(in_order).withColumn("stored", F.lit(col=False))
    before = {"stored": F.lit(col=True), "position": F.lit(-1).cast("bigint"), "reported_at": last_reported()}
    both = reported.select(*_MERGED).unionByName(stored.withColumns(before).select(*_MERGED))
    ever_final = F.max("is_final").over(Window.partitionBy("complaint_id"))
    order = F.struct("is_fresh", "reported_at", "position")
    answered = F.when(F.col("company_response").isNotNull(), F.struct("is_final", "reported_at", "position"))
    latest = (
        both.withColumn("is_fresh", ~is_stale(ever_final))
        .groupBy("complaint_id")
        .agg(
            *(F.max_by(name, answered).alias(name) for name in ANSWER),
            *(_last(name, order).alias(name) for name in REPORTED if name not in ANSWER),
            _last("processing_days", order).alias("known_days"),
            *(F.min_by(name, F.when(F.col(name).isNotNull(), F.col("position"))).alias(name) for name in ABOUT),
            F.max_by("record_id", F.struct("reported_at", "position")).alias("record_id"),
            F.max("observed_at").alias("observed_at"),
            F.max("reported_at").alias("reported_at"),
            F.max_by(F.struct(*REPORTED), F.when(F.col("stored"), 1)).alias("before"),
        )
    )
    changed = F.col("before").isNull() | ~F.struct(*REPORTED).eqNullSafe(F.col("before"))
    return (
        latest.where(changed)
        .withColumn("date_received", F.col("complaint_received"))
        .transform(with_outcome_facts(successful_resolution))
        .withColumn("processing_days", F.coalesce("processing_days", "known_days"))
        .select(OUTCOMES.column_names)
    )


def _last(name: str, order: Column) -> Column:
    return F.max_by(name, F.when(F.col(name).isNotNull(), order))


def in_order(reports: DataFrame) -> DataFrame:
    """Add `position` (bigint): a report's rank within its complaint, by arrival, then file or partition."""
    order = Window.partitionBy("complaint_id").orderBy("reported_at", "file", "partition", "offset", "record_id")
    return reports.withColumn("position", F.row_number().over(order).cast("bigint"))
