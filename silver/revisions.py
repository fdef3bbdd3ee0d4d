"""Revisions of an intake as whole complaints: what one leaves out is taken from earlier versions.

Reads rows of silver.revisions, complaints and narratives. Grain: one revision.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.fields import INTAKE
from silver.tables import COMPLAINTS, FEATURES, REVISIONS

OF_DATE = tuple(c.name for c in FEATURES if c.name.startswith(("received_", "is_weekend")))
# Columns that are derived from a field, and are taken from the same version.
DERIVED: dict[str, tuple[str, ...]] = {
    "date_received": OF_DATE,
    "product": ("product_family",),
    "zip_code": ("zip3",),
    "tags": ("is_servicemember", "is_older_american"),
    "narrative": tuple(c.name for c in FEATURES if c.name not in OF_DATE),
}
FIELDS = tuple(field.name for field in INTAKE if field.name != "complaint_id")
OWN = tuple(  # columns that describe the row itself
    name
    for name in REVISIONS.column_names
    if name not in {*FIELDS, *(derived for names in DERIVED.values() for derived in names)}
)


def completed(
    revisions: DataFrame,
    wanted: DataFrame,
    complaints: DataFrame,
    narratives: DataFrame | None = None,
    earlier: DataFrame | None = None,
) -> DataFrame:
    """Complete revisions: each field comes from the latest version up to the revision's own that reports it.

    Args:
        revisions: rows of silver.revisions.
        wanted: `record_id`, `complaint_id` and `version` of those to complete, one per complaint.
        complaints: rows of silver.complaints, perhaps `without_narrative`.
        narratives: rows of silver.narratives; None if no wanted revision leaves its narrative out.
        earlier: rows of silver.revisions, with these revisions among them; None if the wanted are all there is.

    Returns:
        The wanted revisions with the columns of silver.complaints and `version`.
    """
    fields = [name for name in FIELDS if name not in OWN]
    first = F.lit(1).alias("version")
    values = ["complaint_id", *fields, *(derived for name in fields for derived in DERIVED.get(name, ()))]
    others = revisions if earlier is None else earlier
    versions = complaints.select(*values, first).unionByName(others.select(*values, "version"))
    if narratives is not None:
        text = narratives.select("complaint_id", "narrative", *DERIVED["narrative"], first)
        versions = versions.unionByName(text, allowMissingColumns=True)
    until = F.broadcast(wanted.select("record_id", "complaint_id", F.col("version").alias("_until")))
    known = (
        versions.join(until, "complaint_id")
        .where("version <= _until")
        .coalesce(1)  # as few rows as revisions: one task aggregates them without a shuffle
        .groupBy("record_id")
        .agg(*(_last(name, DERIVED.get(name, ())) for name in fields))
    )
    found = revisions.select(*OWN).join(F.broadcast(known), "record_id")
    return found.select(*OWN, *(f"_{name}.*" for name in fields)).select(*COMPLAINTS.column_names, "version")


def without_narrative(complaints: DataFrame) -> DataFrame:
    """Return complaints with nulls for the narrative, which takes long to read, and what is derived from it."""
    types = {column.name: column.type for column in COMPLAINTS.columns}
    return complaints.withColumns(
        {name: F.lit(None).cast(types[name]) for name in ("narrative", *DERIVED["narrative"])}
    )


def _last(name: str, derived: tuple[str, ...]) -> Column:
    order = F.struct(F.col(name).isNotNull(), F.col("version"))
    return F.max_by(F.struct(name, *derived), order).alias(f"_{name}")
