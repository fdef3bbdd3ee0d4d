"""Revisions of an intake as whole complaints: what one leaves out is taken from earlier versions.

Reads rows of silver.revisions, complaints and narratives. Grain: one revision.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.step import Step
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


def completed(complaints: DataFrame, earlier: DataFrame, narratives: DataFrame | None) -> Step:
    """Return the step that completes revisions.

    Args:
        complaints: rows of silver.complaints.
        earlier: rows of silver.revisions, with these revisions among them.
        narratives: rows of silver.narratives; None for revisions that all report their narrative, which is long to
            read for all complaints.

    The returned step takes one revision per complaint and returns it with the columns of silver.complaints and
    `version`: each field from the latest version up to its own that reports it.
    """
    own = OWN if narratives is not None else (*OWN, "narrative", *DERIVED["narrative"])
    fields = [name for name in FIELDS if name not in own]
    first = F.lit(1).alias("version")
    values = ["complaint_id", *fields, *(derived for name in fields for derived in DERIVED.get(name, ()))]
    versions = complaints.select(*values, first).unionByName(earlier.select(*values, "version"))
    if narratives is not None:
        text = narratives.select("complaint_id", "narrative", *DERIVED["narrative"], first)
        versions = versions.unionByName(text, allowMissingColumns=True)

    def complete(revisions: DataFrame) -> DataFrame:
        wanted = F.broadcast(revisions.select("complaint_id", F.col("version").alias("_wanted")))
        known = (
            versions.join(wanted, "complaint_id")
            .where("version <= _wanted")
            .groupBy("complaint_id")
            .agg(*(_last(name, DERIVED.get(name, ())) for name in fields))
        )
        found = revisions.select(*own).join(F.broadcast(known), "complaint_id")
        return found.select(*own, *(f"_{name}.*" for name in fields)).select(*COMPLAINTS.column_names, "version")

    return complete


def _last(name: str, derived: tuple[str, ...]) -> Column:
    order = F.struct(F.col(name).isNotNull(), F.col("version"))
    return F.max_by(F.struct(name, *derived), order).alias(f"_{name}")
