"""What training needs of its complaints: what nothing can be learned from is refused, what weakens a model is said."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from ml.data.split import CALIBRATE, FIT, TEST

FEWEST_ROWS = 200
FEWEST_NARRATIVES = 50
NAMES = {FIT: "part to fit on", CALIBRATE: "part to calibrate on", TEST: "test part"}


def counted(rows: DataFrame) -> tuple[dict[float, int], int]:
    """Rows by label, and rows without one."""
    counts = rows.groupBy("label").count().collect()  # bounded: three rows
    known = {row.label: row["count"] for row in counts if row.label is not None}
    return known, sum(row["count"] for row in counts if row.label is None)


def refuse_unfit(known: dict[float, int]) -> None:
    """Refuse too few known outcomes, or outcomes of one kind.

    Raises:
        ComplaintsError: says which, and what to do.
    """
    total = sum(known.values())
    if total < FEWEST_ROWS:
        msg = (
            f"There are {total} complaints with a known outcome, and training needs {FEWEST_ROWS}: "
            "load more with `complaints load PATH…`."
        )
        raise ComplaintsError(msg)
    if len(known) < 2:  # noqa: PLR2004
        kind = "successful" if 1.0 in known else "unsuccessful"
        msg = f"All {total} known outcomes are {kind}, so there is nothing to tell apart: load complaints with both."
        raise ComplaintsError(msg)


def refuse_one_sided(parts: DataFrame) -> dict[int, int]:
    """Rows by part; refuses a part to fit on or to test on with one kind of outcome only.

    Raises:
        ComplaintsError: names the part.
    """
    found = parts.groupBy("part").agg(F.count("*").alias("rows"), F.countDistinct("label").alias("kinds")).collect()
    kinds = {row.part: row.kinds for row in found}
    for part in (FIT, TEST):
        if kinds.get(part, 0) < 2:  # noqa: PLR2004
            msg = f"The {NAMES[part]} has only one kind of outcome: load complaints of a longer period."
            raise ComplaintsError(msg)
    return dict.fromkeys(NAMES, 0) | {row.part: row.rows for row in found}


def checked_examples(learned: DataFrame) -> tuple[bool, tuple[str, ...]]:
    """Whether there are narratives enough to learn from, and what weakens a model of these complaints, in sentences."""
    row = learned.agg(
        F.count("narrative").alias("narratives"),
        F.countDistinct("product").alias("products"),
        F.sum((F.col("part") == CALIBRATE).cast("int")).alias("calibrate"),
    ).collect()[0]
    warnings = []
    if row.narratives < FEWEST_NARRATIVES:
        warnings.append(
            f"Only {row.narratives} complaints have a narrative, and learning from text needs {FEWEST_NARRATIVES}: "
            "the model uses structure alone."
        )
    if row.products < 2:  # noqa: PLR2004
        warnings.append("All complaints are of one product: the model knows no other.")
    if not row.calibrate:
        warnings.append("No complaints were left to calibrate on: probabilities are as the classifier gives them.")
    return row.narratives >= FEWEST_NARRATIVES, tuple(warnings)
