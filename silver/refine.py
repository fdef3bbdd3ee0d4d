"""Refine bronze rows into complaints with intake, features, outcome and rule results.

Reads rows of bronze.complaints; one chain of steps. Drops no rows: each row carries the rules it breaks (`reasons`),
and `silver.routing` decides where it goes. Grain: one bronze row.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import SilverSettings
from lakehouse.step import Step
from silver.expectations import Expectation, judged
from silver.features import with_date_features, with_narrative_features
from silver.fields import INTAKE, OUTCOME
from silver.outcomes import with_outcome_facts
from silver.parse import parsed
from silver.standardize import Taxonomy, standardized
from silver.tables import ABOUT, COMPLAINTS, OUTCOMES

COORDINATES = ("record_id", "source", "topic", "partition", "offset", "kafka_timestamp", "file", "line", "ingested_at")
STANDARDIZED = frozenset({"product", "state", "zip_code", "submitted_via", "tags"})

STAMPED = ("refined_at", "observed_at", "reported_at", *ABOUT)  # added by the batch writer

NARRATIVE_WITHOUT_COMPLAINT = "narrative_without_complaint"
# The rules that every row of the CFPB's narrative archive breaks: it has only a complaint id and a narrative.
BARE_NARRATIVE = ("date_received_missing", "product_missing")
PAYLOAD_SHOWN = 100_000


def refined(taxonomy: Taxonomy, expectations: tuple[Expectation, ...], settings: SilverSettings) -> Step:
    """Return the step from bronze rows to refined complaints, checked against the expectations.

    The returned step adds to each bronze row: `COORDINATES`, `arrived_at`; the columns of silver.complaints and
    silver.outcomes, except those `STAMPED` later; `reasons` and `warnings`; `bare_narrative`, true for a row of the
    narrative archive, whose reasons are withheld until routing knows whether its complaint exists; `payload`, truncated
    to `PAYLOAD_SHOWN` characters, for a row that is or may yet be refused. A refused row has no narrative. So the size
    of a refined row is bounded, whatever was sent.
    """

    def refine(bronze: DataFrame) -> DataFrame:
        return (
            bronze.transform(parsed)
            .transform(standardized(taxonomy))
            .transform(judged(expectations))
            .transform(_with_fields)
            .transform(with_date_features)
            .transform(with_narrative_features)
            .transform(with_outcome_facts(settings.successful_resolution))
            .transform(_with_bare_narratives)
            .transform(_bounded)
            .withColumn("arrived_at", arrived())
            .select(*dict.fromkeys((*COORDINATES, "arrived_at", "payload", *_SILVER, "reasons", "bare_narrative")))
        )

    return refine


def arrived() -> Column:
    """When a bronze row first arrived; for a corrected row, when the original arrived."""
    return F.coalesce("first_arrived_at", "kafka_timestamp", "ingested_at")


_SILVER = tuple(name for name in (*COMPLAINTS.column_names, *OUTCOMES.column_names) if name not in STAMPED)


def _with_fields(judged_rows: DataFrame) -> DataFrame:
    """The 18 fields as columns: standardized or typed where that applies, otherwise as received."""
    columns = {
        field.name: F.col(f"raw.{field.name}" if field.type == "string" else f"typed.{field.name}")
        for field in (*INTAKE, *OUTCOME)
        if field.name not in STANDARDIZED
    }
    return judged_rows.withColumns(columns)


def _with_bare_narratives(rows: DataFrame) -> DataFrame:
    nothing_else = F.col("product").isNull() & F.col("date_received").isNull() & F.col("company").isNull()
    only_by_nature = F.size(F.array_except("reasons", F.array(*map(F.lit, BARE_NARRATIVE)))) == 0
    bare = F.col("complaint_id").isNotNull() & F.col("narrative").isNotNull() & nothing_else & only_by_nature
    return rows.withColumn("bare_narrative", bare).withColumn(
        "reasons", F.when(F.col("bare_narrative"), F.array().cast("array<string>")).otherwise(F.col("reasons"))
    )


def _bounded(rows: DataFrame) -> DataFrame:
    is_refused = F.size("reasons") > 0
    shown = F.when(is_refused | F.col("bare_narrative"), F.substring("payload", 1, PAYLOAD_SHOWN))
    return rows.withColumns({"payload": shown, "narrative": F.when(~is_refused, F.col("narrative"))})
