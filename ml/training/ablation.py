"""What each optional feature and each selection of features adds to the model, and what it costs.

Each variant is fitted on the same complaints with the same settings otherwise, and judged on the same test part; none
is registered.
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
TEXT = tuple(jar_set.name for jar_set in OPTIONAL)  # as their settings are called, too
SELECTION = "selection"
SHARES = {"strongest half": 0.5, "strongest tenth": 0.1, "strongest hundredth": 0.01}
REPEATS = 2


@dataclass(frozen=True)
class Variant:
    """One variant of the model.

    Attributes:
        name: what it has.
        features: that the classifier reads.
        fit_s: seconds of fitting, cross-validation included.
        auc_roc: on the test part.
        gain: its difference from the plain variant's AUC-ROC, as the 95 % interval of the paired bootstrap.
        narratives_auc_roc: on complaints with a narrative alone.
        rows_per_second: complaints with a narrative that are scored.
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
    """Fit, judge and time the plain model and its variants.

    Args:
        lake: with complaints whose outcome is known.
        chosen: what to look at, of `TEXT` and `SELECTION`.
        rows: complaints to time with, at most.
        progress: told what is under way.

    Raises:
        ComplaintsError: as training does.
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
    """The settings of each variant by its name, the plain one first."""
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
    began = time.monotonic()
    fitted = fit(parts, settings, lambda what: progress(f"{name}: {what}"))
    fit_s = time.monotonic() - began
    progress(f"{name}: judging and timing")
    score = scored(Model("", "", fitted.artifact))
    found = _scores(parts.where(F.col("part") == TEST).transform(score))
    told = found.has_narrative == 1
    count, scoring = timed.count(), timed.transform(score)
    seconds(scoring)  # the JVM compiles what it has not run yet
    classifier: Any = fitted.artifact.stages[-2]
    variant = Variant(
        name=name,
        features=int(classifier.numFeatures),
        fit_s=fit_s,
        auc_roc=measured(found.label, found.probability, 0.5)["auc_roc"],
        gain=_gain(plain, found, settings.seed) if plain else None,
        narratives_auc_roc=measured(found.label[told], found.probability[told], 0.5)["auc_roc"],
        rows_per_second=count / min(seconds(scoring) for _ in range(REPEATS)),
    )
    return variant, found


def _scores(rows: DataFrame) -> _Scores:
    narrative = F.col("has_narrative").cast("double")
    found = rows.orderBy("complaint_id").select("label", "probability", narrative).collect()  # three numbers a test row
    return _Scores(*(np.array(values, dtype=float) for values in zip(*found, strict=True)))


def _gain(plain: _Scores, variant: _Scores, seed: int) -> tuple[float, float] | None:
    drawn = [resampled(of.label, of.probability, 0.5, seed=seed)["auc_roc"] for of in (plain, variant)]
    return interval_of(drawn[1] - drawn[0])
