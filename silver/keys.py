"""What is compared of a complaint: hashes of its fields, small enough to keep for every complaint in silver.

Reads refined rows and the tables of silver; returns what `silver.known_complaints` takes. Grain: one row of the input.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.known_complaints import COMPARED
from silver.outcomes import NOT_FINAL, REPORTED, has_outcome, last_reported

USABLE = "size(reasons) = 0 AND NOT bare_narrative"  # a bare narrative needs a complaint that is known

READ = (  # the columns of refined rows that `keys` reads
    *("record_id", "complaint_id", "file", "partition", "offset", "ingested_at", "arrived_at", "date_received"),
    *("narrative", "response_class", "is_final", "bare_narrative", "reasons", "warnings"),
    *(name for name in COMPARED if name != "date_received"),
    *REPORTED,
)


def keys(rows: DataFrame) -> DataFrame:
    """Return what is compared of refined rows, what orders them, and the rules they broke.

    Columns: `record_id`; `complaint_id`, 0 if there is none; `is_usable`, `is_bare`; `arrived_at`, `file`, `partition`,
    `offset`; `ingested_at`; those of `complaint_keys` and `report_keys`; `has_outcome`; `reasons`, `warnings`. Times
    are microseconds.
    """
    return rows.select(
        "record_id",
        F.coalesce("complaint_id", F.lit(0)).alias("complaint_id"),
        F.expr(USABLE).alias("is_usable"),
        F.col("bare_narrative").alias("is_bare"),
        F.unix_micros("arrived_at").alias("arrived_at"),
        *_place(),
        F.unix_micros("ingested_at").alias("ingested_at"),
        *_intake(),
        _narrative(),
        *_outcome(),
        has_outcome().alias("has_outcome"),
        "reasons",
        "warnings",
    )


def complaint_keys(complaints: DataFrame) -> DataFrame:
    """Return what is compared of first intakes.

    Columns: `complaint_id`, `received` (days since 1970), `intake` (hashes of `COMPARED`), `narrative` (a hash) and
    `arrived_at` (microseconds).
    """
    arrived = F.unix_micros(F.coalesce("kafka_timestamp", "ingested_at")).alias("arrived_at")
    return complaints.select("complaint_id", *_intake(), _narrative(), arrived)


def revision_keys(revisions: DataFrame) -> DataFrame:
    """Return the columns of `complaint_keys` and `version`."""
    arrived = F.unix_micros("arrived_at").alias("arrived_at")
    return revisions.select("complaint_id", *_intake(), _narrative(), arrived, "version")


def narrative_keys(narratives: DataFrame) -> DataFrame:
    """Return `complaint_id` and `narrative`, a hash."""
    return narratives.select("complaint_id", _narrative())


def report_keys(reports: DataFrame) -> DataFrame:
    """Return `complaint_id`, `outcome` (hashes of `REPORTED`), `is_final`, `in_progress`, and what orders the reports.

    That is `arrived_at` (microseconds), `file`, `partition`, `offset` and `record_id`.
    """
    arrived = F.unix_micros(last_reported()).alias("arrived_at")
    return reports.select("complaint_id", *_outcome(), arrived, *_place(), "record_id")


def _place() -> tuple[Column, ...]:
    """What orders rows that arrived at the same time; nulls come first."""
    return (
        F.coalesce("file", F.lit("")).alias("file"),
        F.coalesce("partition", F.lit(-1)).alias("partition"),
        F.coalesce("offset", F.lit(-1)).cast("bigint").alias("offset"),
    )


def _intake() -> tuple[Column, Column]:
    received = F.coalesce(F.unix_date("date_received"), F.lit(0)).alias("received")
    return received, F.array(*(_hash(name) for name in COMPARED)).alias("intake")


def _narrative() -> Column:
    text = F.col("narrative")
    return F.when(text.isNotNull(), F.xxhash64(text).bitwiseOR(1)).otherwise(F.lit(0)).alias("narrative")


def _outcome() -> tuple[Column, Column, Column]:
    in_progress = F.coalesce(F.col("response_class") == NOT_FINAL, F.lit(col=False))
    is_final = F.coalesce("is_final", F.lit(col=False))
    return (
        F.array(*(_hash(name) for name in REPORTED)).alias("outcome"),
        is_final.alias("is_final"),
        in_progress.alias("in_progress"),
    )


def _hash(name: str) -> Column:
    """A hash that is never 0, or 0 for a missing value."""
    return F.when(F.col(name).isNotNull(), F.hash(name).bitwiseOR(1)).otherwise(F.lit(0))
