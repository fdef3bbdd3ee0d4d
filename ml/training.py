"""Train on complaints whose outcome is known, judge on the latest of them, register.

Reads silver.complaints, silver.narratives and silver.outcomes; writes a run and a version to the registry. The earliest
complaints of each file or topic are fitted on, the next make the probabilities true, the latest judge.
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

from lakehouse.lake import Lake
from lakehouse.settings import MlSettings
from ml.calibration import Line, fitted_lines, stage
from ml.examples import TABLES, examples
from ml.history import lookup, with_history
from ml.influences import raw_logit
from ml.material import counted, judged_material, refuse_one_sided, refuse_unfit
from ml.metrics import intervals, measured
from ml.pipeline import INPUTS, artifact, representation
from ml.registry import Registry, signature
from ml.scoring import Model, scored
from ml.selection import Candidate, chosen, classifier, weighted
from ml.split import CALIBRATE, FIT, TEST, Rule, parted, rule_of

MOST_CHARACTERS = 6000  # of a parameter in MLflow
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Metrics:
    """How the model did on the test part."""

    rows: int
    base_rate: float
    auc_roc: float | None
    auc_pr: float | None
    log_loss: float | None
    brier: float | None
    accuracy: float | None
    ece: float | None
    auc_roc_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Training:
    """What a training gave.

    Attributes:
        version: in the registry.
        train_rows: fitted on.
        calibrate_rows: used for calibration alone.
        copies: left out of the earlier parts, since a later one has the same narrative.
        unknown: without a known outcome.
        split_on: first day of the test part of any file or topic.
        metrics: on the test part.
        warnings: what weakens the model, in sentences.
    """

    version: str
    train_rows: int
    calibrate_rows: int
    copies: int
    unknown: int
    split_on: date
    metrics: Metrics
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """An artifact with how it came about."""

    artifact: PipelineModel
    rule: Rule
    rows: Mapping[int, int]  # a part
    best: Candidate
    grid: tuple[Candidate, ...]
    lines: Mapping[str, Line]
    threshold: float
    warnings: tuple[str, ...]


def train(lake: Lake, registry: Registry, progress: Progress) -> Training:
    """Fit on the earlier part, calibrate, judge on the later, register, and make it the champion.

    Raises:
        ComplaintsError: too few complaints with a known outcome, or only one kind of outcome.
    """
    progress("reading complaints with outcomes")
    with _kept(examples(lake).repartition(lake.settings.spark.cores)) as rows:
        known, unknown = counted(rows)
        refuse_unfit(known)
        with _kept(parted(rows.where("label IS NOT NULL"), lake.settings.ml)) as parts:
            fitted = fit(parts, lake.settings.ml, progress)
            progress("judging on the test part")
            metrics = _judged(fitted, parts.where(F.col("part") == TEST), lake.settings.ml)
            progress("registering")
            example = parts.where(F.col("part") == TEST).select(*INPUTS).limit(3)
            version = registry.log(
                fitted.artifact,
                parameters=_parameters(lake, fitted, unknown),
                metrics={name: value for name, value in asdict(metrics).items() if isinstance(value, int | float)},
                signature=signature(example),
            )
    registry.promote(version)
    return Training(
        version=version,
        train_rows=fitted.rows[FIT],
        calibrate_rows=fitted.rows[CALIBRATE],
        copies=sum(known.values()) - sum(fitted.rows.values()),
        unknown=unknown,
        split_on=min(fitted.rule.since.values(), default=date.min),
        metrics=metrics,
        warnings=fitted.warnings,
    )


def fit(parts: DataFrame, settings: MlSettings, progress: Progress) -> Fitted:
    """Fit and calibrate on parted complaints; the test part is not touched.

    Args:
        parts: what `ml.split.parted` gives, with all three parts.
        settings: how.
        progress: told what is under way.

    Raises:
        ComplaintsError: a part has one kind of outcome only.
    """
    rows = refuse_one_sided(parts)
    rule = rule_of(parts, settings)
    learned = parts.where(F.col("part") != TEST)
    base_rate = float(learned.agg(F.avg("label")).first()[0])  # type: ignore[index]
    learned = learned.transform(with_history(base_rate, settings.history_weight, settings.answer_days))
    learned = weighted(learned, settings)
    with_text, warnings = judged_material(learned)
    progress("fitting the text and feature stages")
    stages = representation(settings, with_text=with_text).fit(learned.where(F.col("part") == FIT))
    with _kept(stages.transform(learned).select(*_FOR_CLASSIFIER)) as ready:
        fitting = ready.where(F.col("part") == FIT)
        best, grid = chosen(fitting, settings, progress)
        progress(f"fitting the classifier ({', '.join(f'{k} {v:g}' for k, v in best.values.items())})")
        with _kept(fitting) as fitting:
            model = classifier(settings, best).fit(fitting)
        progress("calibrating")
        lines = _calibrated(model, ready.where(F.col("part") == CALIBRATE))
    history = lookup(learned, base_rate, settings.history_weight)
    costs = settings.costs
    return Fitted(
        artifact=artifact(stages, history, model, stage(lines)),
        rule=rule,
        rows=rows,
        best=best,
        grid=tuple(grid),
        lines=lines,
        # Calling a success costs less from here up, if the probability is true (Elkan 2001).
        threshold=costs.false_alarm / (costs.false_alarm + costs.missed),
        warnings=warnings,
    )


_FOR_CLASSIFIER = ("features", "label", "weight", "part", "source", "key", "date_received", "has_narrative")


@contextmanager
def _kept(rows: DataFrame) -> Iterator[DataFrame]:
    kept = rows.persist()
    try:
        yield kept
    finally:
        kept.unpersist()


def _calibrated(model: Transformer, rows: DataFrame) -> dict[str, Line]:
    path = F.when(F.col("has_narrative"), "text").otherwise("structure")
    found = model.transform(rows).select(raw_logit().alias("raw"), "label", path.alias("path")).collect()  # bounded
    raw, label, paths = (np.array(values) for values in zip(*found, strict=True))
    return fitted_lines(raw, label, paths)


def _judged(fitted: Fitted, test: DataFrame, settings: MlSettings) -> Metrics:
    rows = test.transform(scored(Model("", "", fitted.artifact))).select("label", "probability").collect()
    label, probability = (np.array(values) for values in zip(*rows, strict=True))
    figures = measured(label, probability, fitted.threshold)
    return Metrics(
        rows=len(rows),
        base_rate=float(label.mean()),
        auc_roc=figures["auc_roc"],
        auc_pr=figures["auc_pr"],
        log_loss=figures["log_loss"],
        brier=figures["brier"],
        accuracy=figures["accuracy"],
        ece=figures["ece"],
        auc_roc_interval=intervals(label, probability, fitted.threshold, seed=settings.seed)["auc_roc"],
    )


def _parameters(lake: Lake, fitted: Fitted, unknown: int) -> dict[str, object]:
    settings = lake.settings.ml.model_dump()
    return {
        **{name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()},
        **{f"best_{name}": value for name, value in fitted.best.values.items()},
        "cross_validation": json.dumps([asdict(candidate) for candidate in fitted.grid])[:MOST_CHARACTERS],
        "calibration": json.dumps({path: asdict(line) for path, line in fitted.lines.items()}),
        "threshold": fitted.threshold,
        "rule": fitted.rule.as_json(),
        "fit_rows": fitted.rows[FIT],
        "calibrate_rows": fitted.rows[CALIBRATE],
        "test_rows": fitted.rows[TEST],
        "unknown_outcomes": unknown,
        **{f"version_of_{t.name}": lake.version(t) for t in TABLES},
    }
