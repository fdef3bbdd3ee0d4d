"""Checks of the training data: refuse what can't be learned from, warn about what weakens a model."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from ml.data.split import CALIBRATE, FIT, TEST

MIN_ROWS = 200
MIN_NARRATIVES = 50
NAMES = {FIT: "training set", CALIBRATE: "calibration set", TEST: "test set"}


def counted(rows: DataFrame) -> tuple[dict[float, int], int]:
    """Count rows by label, and rows without one."""
    counts = rows.groupBy("label").count().collect()  # bounded: three rows
    known = {row.label: row["count"] for row in counts if row.label is not None}
    return known, sum(row["count"] for row in counts if row.label is None)


def refuse_unfit(known: dict[float, int]) -> None:
    """Refuse too few known outcomes, or outcomes of only one kind.

    Raises:
        ComplaintsError: says which, and what to do.
    """
    total = sum(known.values())
    if total < MIN_ROWS:
        msg = (
            f"There are {total} complaints with a known outcome, and training needs {MIN_ROWS}: "
            "load more with `complaints load PATH…`."
        )
        raise ComplaintsError(msg)
    if len(known) < 2:  # noqa: PLR2004
        kind = "successful" if 1.0 in known else "unsuccessful"
        msg = f"All {total} known outcomes are {kind}, so there is nothing to tell apart: load complaints with both."
        raise ComplaintsError(msg)


def refuse_one_sided(parts: DataFrame) -> dict[int, int]:
    """Count rows by part; refuse a training or test set with only one kind of outcome.

    Raises:
        ComplaintsError: if so; names the set.
    """
    # bounded: one row per part
    found = parts.groupBy("part").agg(F.count("*").alias("rows"), F.countDistinct("label").alias("kinds")).collect()
    kinds = {row.part: row.kinds for row in found}
    for part in (FIT, TEST):
        if kinds.get(part, 0) < 2:  # noqa: PLR2004
            msg = f"The {NAMES[part]} has only one kind of outcome: load complaints from a longer period."
            raise ComplaintsError(msg)
    return dict.fromkeys(NAMES, 0) | {row.part: row.rows for row in found}


def checked_examples(learned: DataFrame) -> tuple[bool, tuple[str, ...]]:
    """Return whether there are enough narratives to learn from, and warnings about these complaints."""
    row = learned.agg(
        F.count("narrative").alias("narratives"),
        F.countDistinct("product").alias("products"),
        F.sum((F.col("part") == CALIBRATE).cast("int")).alias("calibrate"),
    ).collect()[0]
    warnings = []
    if row.narratives < MIN_NARRATIVES:
        warnings.append(
            f"Only {row.narratives} complaints have a narrative, and learning from text needs {MIN_NARRATIVES}: "
            "the model uses structure alone."
        )
    if row.products < 2:  # noqa: PLR2004
        warnings.append("All complaints are about one product: the model knows no other.")
    if not row.calibrate:
        warnings.append("No complaints were left to calibrate on: probabilities are not calibrated.")
    return row.narratives >= MIN_NARRATIVES, tuple(warnings)
