"""Ablation: what each optional feature and feature selection adds to the model, and what it costs.

Each variant is fitted on the same complaints with otherwise identical settings, and evaluated on the same test set;
none is registered.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from lakehouse.setup.jar_sets import OPTIONAL
from lakehouse.tables.lake import Lake
from ml.data.examples import examples
from ml.data.split import TEST, parted
from ml.evaluation.speed import seconds
from ml.metrics import Numbers, interval_of, measured, resampled
from ml.scoring.scoring import Model, scored
from ml.training.parameter_selection import Progress
from ml.training.training import fit

PLAIN = "without"
TEXT = tuple(jar_set.name for jar_set in OPTIONAL)  # also the names of their settings
SELECTION = "selection"
SHARES = {"strongest half": 0.5, "strongest tenth": 0.1, "strongest hundredth": 0.01}
REPEATS = 2


@dataclass(frozen=True)
class Variant:
    """One variant of the model.

    Attributes:
        name: what the variant includes.
        features: number of features that the classifier reads.
        fit_s: seconds to fit, including cross-validation.
        auc_roc: AUC-ROC on the test set.
        gain: difference from the plain variant's AUC-ROC, as the 95 % interval of the paired bootstrap.
        narratives_auc_roc: AUC-ROC on complaints with a narrative.
        rows_per_second: scoring throughput on complaints with a narrative.
    """

    name: str
    features: int
    fit_s: float
    auc_roc: float | None
    gain: tuple[float, float] | None
    narratives_auc_roc: float | None
    rows_per_second: float


@dataclass(frozen=True)
class _Scores:
    label: Numbers
    probability: Numbers
    has_narrative: Numbers


def ablated(lake: Lake, chosen: Sequence[str], rows: int, progress: Progress) -> list[Variant]:
    """Fit, evaluate and time the plain model and its variants.

    Args:
        lake: has complaints with known outcomes.
        chosen: which variants to try, from `TEXT` and `SELECTION`.
        rows: maximum number of complaints to time with.
        progress: called with a short description of each step.

    Raises:
        ComplaintsError: as in training.
    """
    settings = lake.settings.ml
    labeled = examples(lake).where("label IS NOT NULL").repartition(lake.settings.spark.cores)
    parts = parted(labeled, settings).persist()
    timed = parts.where((F.col("part") == TEST) & F.col("has_narrative")).limit(rows).persist()
    found: list[tuple[Variant, _Scores]] = []
    try:
        for name, variant in variants(settings, chosen).items():
            plain = found[0][1] if found else None
            found.append(_variant(name, variant, (parts, timed), plain, progress))
    finally:
        timed.unpersist()
        parts.unpersist()
    return [variant for variant, _ in found]


def variants(settings: MlSettings, chosen: Sequence[str]) -> Mapping[str, MlSettings]:
    """Return the settings of each variant by name, the plain one first."""
    off = {name: getattr(settings, name).model_copy(update={"enabled": False}) for name in TEXT}
    on = {name: getattr(settings, name).model_copy(update={"enabled": True}) for name in TEXT if name in chosen}
    plain = settings.model_copy(update={**off, "keep_features": None})
    found = {PLAIN: plain} | {f"with {name}": plain.model_copy(update={name: on[name]}) for name in on}
    if len(on) > 1:
        found["with both"] = plain.model_copy(update=on)
    if SELECTION in chosen:
        found |= {name: plain.model_copy(update={"keep_features": share}) for name, share in SHARES.items()}
    return found


def _variant(
    name: str, settings: MlSettings, data: tuple[DataFrame, DataFrame], plain: _Scores | None, progress: Progress
) -> tuple[Variant, _Scores]:
    parts, timed = data
    start = time.monotonic()
    fitted = fit(parts, settings, lambda what: progress(f"{name}: {what}"))
    fit_s = time.monotonic() - start
    progress(f"{name}: evaluating and timing")
    score = scored(Model("", "", fitted.artifact))
    found = _scores(parts.where(F.col("part") == TEST).transform(score))
    with_text = found.has_narrative == 1
    count, scoring = timed.count(), timed.transform(score)
    seconds(scoring)  # warm-up: the JVM compiles the plan's code
    classifier: Any = fitted.artifact.stages[-2]
    variant = Variant(
        name=name,
        features=int(classifier.numFeatures),
        fit_s=fit_s,
        auc_roc=measured(found.label, found.probability, 0.5)["auc_roc"],
        gain=_gain(plain, found, settings.seed) if plain else None,
        narratives_auc_roc=measured(found.label[with_text], found.probability[with_text], 0.5)["auc_roc"],
        rows_per_second=count / min(seconds(scoring) for _ in range(REPEATS)),
    )
    return variant, found


def _scores(rows: DataFrame) -> _Scores:
    narrative = F.col("has_narrative").cast("double")
    found = rows.orderBy("complaint_id").select("label", "probability", narrative).collect()  # bounded: 3 per test row
    return _Scores(*(np.array(values, dtype=float) for values in zip(*found, strict=True)))


def _gain(plain: _Scores, variant: _Scores, seed: int) -> tuple[float, float] | None:
    drawn = [resampled(of.label, of.probability, 0.5, seed=seed)["auc_roc"] for of in (plain, variant)]
    return interval_of(drawn[1] - drawn[0])
