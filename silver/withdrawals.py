"""Complaints that went missing from a full export, or came back in one.

Reads rows of silver.complaints and silver.withdrawals. Grain: one complaint whose state changed.
"""

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.tables import ABOUT, WITHDRAWALS

WITHDRAWN, RETURNED = "withdrawn", "returned"
OWN = ("complaint_id", *(name for name in ABOUT if name in WITHDRAWALS.column_names))


def withdrawn(withdrawals: DataFrame) -> DataFrame:
    """Return the latest row of each complaint that is withdrawn now."""
    row = F.struct(*(F.col(name) for name in withdrawals.columns))
    latest = withdrawals.groupBy("complaint_id").agg(F.max_by(row, "observed_at").alias("_row")).select("_row.*")
    return latest.where(F.col("change") == WITHDRAWN)


def changes(events: Mapping[str, DataFrame], sha256: str, file: str) -> DataFrame:
    """Return rows of silver.withdrawals.

    Args:
        events: by the change, rows of silver.complaints or, for a return, of silver.withdrawals.
        sha256: digest of the full export.
        file: its name.
    """
    parts = [
        rows.select(*(_about(rows, name) for name in OWN)).withColumn("change", F.lit(change))
        for change, rows in events.items()
    ]
    both = reduce(DataFrame.unionByName, parts)
    stamps = {"file": F.lit(file), "sha256": F.lit(sha256), "observed_at": F.current_timestamp()}
    return both.withColumns(stamps).select(WITHDRAWALS.column_names)


def _about(rows: DataFrame, name: str) -> Column:
    return F.col(name) if name in rows.columns else F.col(ABOUT[name]).alias(name)
