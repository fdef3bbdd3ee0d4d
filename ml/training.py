"""Train on complaints whose outcome is known, judge on the latest of them, register.

Reads silver.complaints, silver.narratives and silver.outcomes; writes a run and a version to the registry. The split is
by time: the model is judged on complaints that came after all it learned from.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, log_loss, roc_auc_score

from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake
from ml.pipeline import INPUTS, LABEL, pipeline
from ml.registry import Registry
from silver.features import with_narrative_features
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES

FEWEST_ROWS = 200


@dataclass(frozen=True)
class Metrics:
    """How the model did on the test part: complaints received after all that it learned from."""

    rows: int
    base_rate: float
    auc_roc: float
    auc_pr: float
    log_loss: float
    brier: float
    accuracy: float


@dataclass(frozen=True)
class Training:
    """What a training gave."""

    version: str
    train_rows: int
    unknown: int
    split_on: date
    metrics: Metrics


def labelled(complaints: DataFrame, narratives: DataFrame, outcomes: DataFrame) -> DataFrame:
    """Complaints with `label` (1.0 = successful resolution, null while unknown), one row a complaint.

    Of the outcomes only the label is taken. A narrative that came later is joined where the complaint has none.
    """
    later = narratives.groupBy("complaint_id").agg(F.min("narrative").alias("later"))
    label = outcomes.select("complaint_id", F.col(LABEL).cast("double").alias("label"))
    return (
        complaints.select("complaint_id", "date_received", *INPUTS)
        .join(later, on="complaint_id", how="left")
        .withColumn("narrative", F.coalesce("narrative", "later"))
        .drop("later")
        .transform(with_narrative_features)
        .join(label, on="complaint_id", how="left")
        .select("complaint_id", "date_received", "label", *INPUTS)
    )


def split_by_time(rows: DataFrame, test_share: float) -> tuple[DataFrame, DataFrame, date]:
    """The earlier and the later complaints, parted between two days.

    Returns:
        Train part, test part (about `test_share` of the rows), and the first day of the test part.
    """
    days = rows.groupBy("date_received").count().orderBy("date_received").collect()  # bounded: a row a day
    wanted = sum(day["count"] for day in days) * (1 - test_share)
    seen = 0
    for day in days:
        if seen >= wanted:
            break
        seen += day["count"]
    split_on = day.date_received
    return rows.where(F.col("date_received") < split_on), rows.where(F.col("date_received") >= split_on), split_on


def evaluated(scored: DataFrame) -> Metrics:
    """Metrics of rows with `label` (0.0 or 1.0) and `probability` (of 1.0, a double).

    AUCs are exact up to ties, by rank statistics (Mann and Whitney 1947) and average precision.
    """
    rows = scored.select("label", "probability").collect()  # bounded: two numbers a test row
    label, probability = (np.array(values) for values in zip(*rows, strict=True))
    return Metrics(
        rows=len(rows),
        base_rate=float(label.mean()),
        auc_roc=float(roc_auc_score(label, probability)),
        auc_pr=float(average_precision_score(label, probability)),
        log_loss=float(log_loss(label, probability, labels=[0.0, 1.0])),
        brier=float(brier_score_loss(label, probability)),
        accuracy=float(accuracy_score(label, probability >= 0.5)),  # noqa: PLR2004
    )


def train(lake: Lake, registry: Registry, progress: Callable[[str], None]) -> Training:
    """Fit the pipeline on the earlier part, judge it on the later, register it, and make it the champion.

    Raises:
        ComplaintsError: too few complaints with a known outcome, or only one kind of outcome.
    """
    settings = lake.settings.ml
    progress("reading complaints with outcomes")
    rows = labelled(*(lake.read(table) for table in (COMPLAINTS, NARRATIVES, OUTCOMES))).repartition(
        lake.settings.spark.cores
    )
    rows = rows.persist()
    try:
        counts = rows.groupBy("label").count().collect()  # bounded: three rows
        known = {row.label: row["count"] for row in counts if row.label is not None}
        unknown = sum(row["count"] for row in counts if row.label is None)
        _refuse_unfit(known)
        early, late, split_on = split_by_time(rows.where("label IS NOT NULL"), settings.test_share)
        if early.select("label").distinct().count() < 2 or late.select("label").distinct().count() < 2:  # noqa: PLR2004
            msg = f"Split on {split_on}, one part has only one kind of outcome: load complaints of a longer period."
            raise ComplaintsError(msg)
        progress(f"fitting on complaints before {split_on}")
        fitted = pipeline(settings).fit(early)
        progress("judging on complaints since")
        metrics = evaluated(_probabilities(fitted, late))
        train_rows = sum(known.values()) - metrics.rows
        progress("registering")
        version = registry.log(
            fitted,
            parameters={
                **settings.model_dump(),
                "split_on": str(split_on),
                "train_rows": train_rows,
                "unknown_outcomes": unknown,
                **{f"version_of_{t.name}": lake.version(t) for t in (COMPLAINTS, NARRATIVES, OUTCOMES)},
            },
            metrics=asdict(metrics),
            signature=signature(rows),
        )
        registry.promote(version)
        return Training(version, train_rows, unknown, split_on, metrics)
    finally:
        rows.unpersist()


def signature(rows: DataFrame) -> ModelSignature:
    """The model's signature: `INPUTS` with their types in, one double out."""
    names = {"int": "integer", "bigint": "long"}
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(names.get(kind := rows.schema[name].dataType.simpleString(), kind), name, required=False)
        for name in INPUTS
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "probability")]))


def _probabilities(fitted: PipelineModel, rows: DataFrame) -> DataFrame:
    return fitted.transform(rows).withColumn("probability", vector_to_array(F.col("probability"))[1])


def _refuse_unfit(known: dict[float, int]) -> None:
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
