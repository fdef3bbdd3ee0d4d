"""From a row of bronze to a complaint with intake, features, outcome and verdict, as one chain of steps.

Reads rows of bronze.complaints. Drops nothing: each row carries its verdict (`reasons`), and `silver.routing` says
where it goes. Grain: one row of bronze.
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
STANDARDISED = frozenset({"product", "state", "zip_code", "submitted_via", "tags"})

STAMPED = ("refined_at", "observed_at", "reported_at", *ABOUT)  # where the batch is written

NARRATIVE_WITHOUT_COMPLAINT = "narrative_without_complaint"
# The rules that a row of the CFPB's narrative archive (complaint id and narrative, nothing else) breaks by its nature.
BARE_NARRATIVE = ("date_received_missing", "product_missing")
PAYLOAD_SHOWN = 100_000


def refined(taxonomy: Taxonomy, expectations: tuple[Expectation, ...], settings: SilverSettings) -> Step:
    """The step from bronze to judged complaints.

    The returned step gives, for each row of bronze: `COORDINATES`, `arrived_at`; the columns of silver.complaints and
    silver.outcomes, short of what is `STAMPED` later; `reasons` and `warnings`; `bare_narrative`, true for a row of the
    narrative archive, whose reasons are held back until it is known whether its complaint is there; `payload`, cut to
    `PAYLOAD_SHOWN` characters, for a row that is or may yet be refused. A refused row has no narrative. So what a batch
    holds of a row has a bound, whatever the row was sent with.
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
    """When a row of bronze first arrived: for a corrected row, when the original arrived."""
    return F.coalesce("first_arrived_at", "kafka_timestamp", "ingested_at")


_SILVER = tuple(name for name in (*COMPLAINTS.column_names, *OUTCOMES.column_names) if name not in STAMPED)


def _with_fields(judged_rows: DataFrame) -> DataFrame:
    """The 18 fields as columns: standardised where they are, typed where they are, otherwise as received."""
    columns = {
        field.name: F.col(f"raw.{field.name}" if field.type == "string" else f"typed.{field.name}")
        for field in (*INTAKE, *OUTCOME)
        if field.name not in STANDARDISED
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
