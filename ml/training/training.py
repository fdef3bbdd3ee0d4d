"""Train on complaints with known outcomes, evaluate on the latest of them, register the model.

Reads silver.complaints, silver.narratives and silver.outcomes; writes a run and a version to the registry. Of each
feed, the earliest complaints are the training set, the next the calibration set, and the latest the test set.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.base import Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.settings import MlSettings
from lakehouse.tables.lake import Lake
from ml.data.data_checks import checked_examples, counted, refuse_one_sided, refuse_unfit
from ml.data.examples import TABLES, examples
from ml.data.learned import Learned, learned
from ml.data.split import CALIBRATE, FIT, TEST, parted
from ml.evaluation.holdout import Judged, Metrics, judge
from ml.evaluation.plots import plots
from ml.evaluation.promotion import WorseError, promote
from ml.features.company_history import lookup, with_history
from ml.features.pipeline import EXAMPLE, INPUTS, artifact, represented
from ml.registry.model_card import card
from ml.registry.provenance import signature
from ml.registry.registry import CARD, Registry
from ml.registry.versions import LEARNED, REFERENCE
from ml.scoring.influences import raw_logit
from ml.scoring.validation import Output
from ml.training.calibration import Line, fitted_lines, stage
from ml.training.feature_selection import fitted_classifier, nothing_learned
from ml.training.parameter_selection import Candidate, chosen, weighted

MAX_CHARACTERS = 6000  # per parameter in MLflow
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """The result of a training.

    Attributes:
        version: version in the registry.
        is_champion: whether it was promoted; otherwise it is the challenger, and a warning says why.
        train_rows: rows in the training set.
        calibrate_rows: rows used only for calibration.
        copies: rows dropped from an earlier part, because a later one has the same narrative.
        unknown: complaints without a known outcome.
        split_on: first day of the test set of any feed.
        metrics: metrics on the test set.
        warnings: what weakens the model, one sentence each.
    """

    version: str
    is_champion: bool
    train_rows: int
    calibrate_rows: int
    copies: int
    unknown: int
    split_on: date
    metrics: Metrics
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """An artifact with how it was fitted."""

    artifact: PipelineModel
    rows: Mapping[int, int]  # by part
    best: Candidate
    grid: tuple[Candidate, ...]
    lines: Mapping[str, Line]
    threshold: float
    warnings: tuple[str, ...]


def train(lake: Lake, registry: Registry, progress: Progress, *, as_challenger: bool = False) -> Training:
    """Fit, calibrate and evaluate a model, register it, and promote it unless the champion is better.

    Args:
        lake: has silver's complaints and outcomes.
        registry: receives the new version.
        progress: called with a short description of each step.
        as_challenger: never promote the new version.

    Raises:
        ComplaintsError: if there are too few complaints with a known outcome, or only one kind of outcome.
    """
    progress("reading complaints with outcomes")
    with _cached(examples(lake).repartition(lake.settings.spark.cores)) as rows:
        known, unknown = counted(rows)
        refuse_unfit(known)
        with _cached(parted(rows.where("label IS NOT NULL"), lake.settings.ml)) as parts:
            fitted = fit(parts, lake.settings.ml, progress)
            progress("evaluating on the test set")
            judged = judge(fitted.artifact, fitted.threshold, parts.where(F.col("part") == TEST), lake.settings.ml)
            progress("registering")
            record = learned(rows.where("label IS NOT NULL"), parts, lake.settings.ml.split)
            version = _registered(lake, registry, fitted, parts, (judged, record, unknown))
    is_champion, notes = (False, ()) if as_challenger else _promoted(lake, registry, version, progress)
    return Training(
        version=version,
        is_champion=is_champion,
        train_rows=fitted.rows[FIT],
        calibrate_rows=fitted.rows[CALIBRATE],
        copies=sum(known.values()) - sum(fitted.rows.values()),
        unknown=unknown,
        split_on=min(record.cuts.values(), default=date.min),
        metrics=judged.metrics,
        warnings=(*fitted.warnings, *notes),
    )


def _promoted(lake: Lake, registry: Registry, version: str, progress: Progress) -> tuple[bool, tuple[str, ...]]:
    """Promote the version unless it is worse than the champion; return whether it was, and warnings."""
    progress("comparing with the champion")
    try:
        promote(lake, registry, version)
    except WorseError as error:
        return False, (str(error),)
    except ComplaintsError as error:  # nothing to compare with must not leave the stream without a model
        registry.promote(version)
        return True, (f"Promoted without a comparison. {error}",)
    return True, ()


def _registered(
    lake: Lake, registry: Registry, fitted: Fitted, parts: DataFrame, found: tuple[Judged, Learned, int]
) -> str:
    judged, record, unknown = found
    metrics = judged.metrics.figures()
    first, last = parts.agg(F.min("date_received"), F.max("date_received")).collect()[0]
    text = card(
        registry.name,
        rows={
            "fit_rows": fitted.rows[FIT],
            "calibrate_rows": fitted.rows[CALIBRATE],
            "test_rows": judged.metrics.rows,
            "unknown": unknown,
        },
        period=(first, last),
        since=record.cuts,
        metrics=metrics,
        threshold=fitted.threshold,
        warnings=fitted.warnings,
    )
    return registry.log(
        fitted.artifact,
        parameters=_parameters(lake, fitted, judged.output, unknown),
        metrics=metrics,
        signature=signature(parts.select(*INPUTS)),
        figures=plots(judged.drawn),
        texts={
            CARD: text,
            REFERENCE: json.dumps(asdict(judged.seen)),
            LEARNED: record.as_json(),
            "input_example.json": json.dumps([EXAMPLE]),
        },
    )


def fit(parts: DataFrame, settings: MlSettings, progress: Progress) -> Fitted:
    """Fit and calibrate on split complaints; the test set is not used.

    Args:
        parts: result of `ml.data.split.parted`, with all three parts.
        settings: training settings.
        progress: called with a short description of each step.

    Raises:
        ComplaintsError: if the training or test set has only one kind of outcome.
    """
    rows = refuse_one_sided(parts)
    earlier = parts.where(F.col("part") != TEST)
    base_rate = float(earlier.agg(F.avg("label")).first()[0])  # type: ignore[index]
    earlier = earlier.transform(with_history(base_rate, settings.history_weight, settings.answer_days))
    earlier = weighted(earlier, settings)
    with_text, warnings = checked_examples(earlier)
    progress("fitting the text and feature stages")
    stages = represented(earlier.where(F.col("part") == FIT), settings, with_text=with_text)
    with _cached(stages.transform(earlier).select(*_FOR_CLASSIFIER)) as ready:
        fitting = ready.where(F.col("part") == FIT)
        best, grid = chosen(fitting, settings, progress)
        progress(f"fitting the classifier ({', '.join(f'{k} {v:g}' for k, v in best.values.items())})")
        with _cached(fitting) as fitting:
            model = fitted_classifier(fitting, settings, best)
        warnings += nothing_learned(model)
        progress("calibrating")
        lines = _calibrated(PipelineModel(stages=model), ready.where(F.col("part") == CALIBRATE))
    history = lookup(earlier, base_rate, settings.history_weight)
    costs = settings.costs
    return Fitted(
        artifact=artifact(stages, history, model, stage(lines)),
        rows=rows,
        best=best,
        grid=tuple(grid),
        lines=lines,
        # At or above this, predicting success costs less, if probabilities are calibrated (Elkan 2001).
        threshold=costs.false_alarm / (costs.false_alarm + costs.missed),
        warnings=warnings,
    )


_FOR_CLASSIFIER = ("features", "label", "weight", "part", "feed", "key", "date_received", "has_narrative")


@contextmanager
def _cached(rows: DataFrame) -> Iterator[DataFrame]:
    cached = rows.persist()
    try:
        yield cached
    finally:
        cached.unpersist()


def _calibrated(model: Transformer, rows: DataFrame) -> dict[str, Line]:
    path = F.when(F.col("has_narrative"), "text").otherwise("structure")
    found = model.transform(rows).select(raw_logit().alias("raw"), "label", path.alias("path")).collect()  # bounded
    raw, label, paths = (np.array(values) for values in zip(*found, strict=True))
    return fitted_lines(raw, label, paths)


def _parameters(lake: Lake, fitted: Fitted, output: Output, unknown: int) -> dict[str, object]:
    settings = lake.settings.ml.model_dump()
    return {
        **{name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()},
        **{f"best_{name}": value for name, value in fitted.best.values.items()},
        "cross_validation": json.dumps([asdict(candidate) for candidate in fitted.grid])[:MAX_CHARACTERS],
        "calibration": json.dumps({path: asdict(line) for path, line in fitted.lines.items()}),
        "threshold": fitted.threshold,
        "fit_rows": fitted.rows[FIT],
        "calibrate_rows": fitted.rows[CALIBRATE],
        "test_rows": fitted.rows[TEST],
        "features": output.size,
        "unseen_in_test": json.dumps(output.unseen),
        "unknown_outcomes": unknown,
        **{f"version_of_{t.name}": lake.version(t) for t in TABLES},
    }
