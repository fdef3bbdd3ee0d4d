"""Evaluate a fitted artifact on the test set: metrics, plot data, and reference distributions."""

from dataclasses import asdict, dataclass

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from sparknlp.annotator import SentimentDLModel

from lakehouse.settings import MlSettings
from ml.data.reference import FEATURES, Reference, reference
from ml.evaluation.importance import in_pandas
from ml.evaluation.plots import Drawn
from ml.features.sentiment import Agreement, agreement
from ml.metrics import intervals, measured
from ml.scoring.influences import stage_of
from ml.scoring.scoring import Model, scored
from ml.scoring.validation import Output, checked_output


@dataclass(frozen=True)
class Metrics:
    """Metrics on the test set; `sentiment` is None without the project's own sentiment model."""

    rows: int
    base_rate: float
    auc_roc: float | None
    auc_pr: float | None
    log_loss: float | None
    brier: float | None
    accuracy: float | None
    ece: float | None
    auc_roc_interval: tuple[float, float] | None
    sentiment: Agreement | None

    def figures(self) -> dict[str, float]:
        """Return all scalar metrics by name, for the registry."""
        values = asdict(self)
        values |= {f"sentiment_{name}": value for name, value in (values["sentiment"] or {}).items()}
        return {name: value for name, value in values.items() if isinstance(value, int | float)}


@dataclass(frozen=True)
class Judged:
    """Evaluation on the test set: metrics, plot data, reference distributions, output summary."""

    metrics: Metrics
    drawn: Drawn
    seen: Reference
    output: Output


def judge(fitted: PipelineModel, threshold: float, test: DataFrame, settings: MlSettings) -> Judged:
    """Score the test set and compute the metrics.

    Args:
        fitted: the artifact.
        threshold: probability at or above which a complaint is predicted successful.
        test: labeled complaints that the artifact was not trained on.
        settings: which features the artifact has, and the seed of the interval.

    Raises:
        ComplaintsError: if the artifact's output is invalid.
    """
    output = checked_output(fitted, test)
    scores = test.transform(scored(Model("", "", fitted))).orderBy("complaint_id")  # so that intervals can be repeated
    rows = in_pandas(scores.select("label", "probability", *FEATURES))
    label, probability = (rows[name].to_numpy(dtype=float) for name in ("label", "probability"))
    measures = measured(label, probability, threshold)
    metrics = Metrics(
        rows=len(rows),
        base_rate=float(label.mean()),
        auc_roc=measures["auc_roc"],
        auc_pr=measures["auc_pr"],
        log_loss=measures["log_loss"],
        brier=measures["brier"],
        accuracy=measures["accuracy"],
        ece=measures["ece"],
        auc_roc_interval=intervals(label, probability, threshold, seed=settings.seed)["auc_roc"],
        sentiment=_sentiment(fitted, test, settings),
    )
    return Judged(metrics, Drawn(label, {"model": probability}), reference(rows, probability), output)


def _sentiment(fitted: PipelineModel, test: DataFrame, settings: MlSettings) -> Agreement | None:
    if settings.sentiment.model is not None or stage_of(fitted, SentimentDLModel) is None:
        return None
    return agreement(fitted, test.where("has_narrative"))
