"""Labeled complaints for training and evaluation: intake columns and, of the outcome, only the label.

Reads silver.complaints, silver.narratives and silver.outcomes. Grain: one complaint.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from lakehouse.step import Step
from lakehouse.tables.lake import Lake
from ml.features.pipeline import INPUTS, LABEL
from silver.features import AMOUNT, REDACTION, with_narrative_features
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES

TABLES = (COMPLAINTS, NARRATIVES, OUTCOMES)
KEYS = ("complaint_id", "source", "date_received")
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def labeled(complaints: DataFrame, narratives: DataFrame, outcomes: DataFrame, label: str = LABEL) -> DataFrame:
    """Return complaints with `label`, one row per complaint.

    Only the label is taken from the outcomes. A late narrative is joined where the complaint has none.

    Args:
        complaints: rows of silver.complaints.
        narratives: rows of silver.narratives.
        outcomes: rows of silver.outcomes.
        label: the boolean column of outcomes to predict.

    Returns:
        `KEYS`, `label` (1.0, 0.0, or null while unknown) and `INPUTS`.
    """
    later = narratives.groupBy("complaint_id").agg(F.min("narrative").alias("later"))
    known = outcomes.select("complaint_id", F.col(label).cast("double").alias("label"))
    return (
        complaints.select("complaint_id", source().alias("source"), "date_received", *INPUTS)
        .join(later, on="complaint_id", how="left")
        .withColumn("narrative", F.coalesce("narrative", "later"))
        .drop("later")
        .transform(with_narrative_features)
        .join(known, on="complaint_id", how="left")
        .select(*KEYS, "label", *INPUTS)
    )


def examples(lake: Lake, label: str = LABEL) -> DataFrame:
    """The lake's complaints with `label`, as returned by `labeled`."""
    complaints, narratives, outcomes = (lake.read(table) for table in TABLES)
    return labeled(complaints.transform(learnable(lake.settings.ml)), narratives, outcomes, label)


def learnable(settings: MlSettings) -> Step:
    """Return the step that drops what the load generator made, unless `ml.synthetic` keeps it.

    It recombines real complaints: a model would learn, and be judged, on copies.
    """
    return lambda complaints: complaints if settings.synthetic else complaints.where("is_synthetic IS NULL")


def source() -> Column:
    """The file or topic that a complaint came from: its record id without the position in it."""
    return F.regexp_replace("record_id", r"(/[0-9]+/[0-9]+(/[0-9a-f]+)?|:[0-9]+)(@[0-9]+)?$", "")


def feed() -> Column:
    """What a complaint's `source` is one part of: the topic, or all files whose names differ only in numbers.

    From a file's name come away its `.gz`, any UUID, and each part that has a digit with the separators before it:
    complaints-2024-10-01.csv and complaints (2).csv.gz are parts of one feed, complaints.csv.
    """
    name = F.lower(F.regexp_extract("source", r"^[0-9a-f]{16}:(.*?)(?:\.gz)?$", 1))
    plain = F.regexp_replace(F.regexp_replace(name, _UUID, "0"), r"[-_. ]*\(?[a-z]*[0-9][a-z0-9]*\)?", "")
    return F.when(F.col("source").rlike("^[0-9a-f]{16}:"), plain).otherwise(F.col("source"))


def narrative_key() -> Column:
    """A hash that ignores case, punctuation, redactions and amounts; null without a narrative."""
    words = F.regexp_replace(F.regexp_replace("narrative", AMOUNT, " "), REDACTION, " ")
    letters = F.trim(F.regexp_replace(F.lower(words), "[^a-z]+", " "))
    return F.when(F.col("narrative").isNotNull(), F.xxhash64(letters).cast("string"))
