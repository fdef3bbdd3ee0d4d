"""Evaluate a version on complaints that it was not trained on, with baselines on the same rows.

Reads silver.complaints, silver.narratives and silver.outcomes; returns metrics. Rows with an unknown outcome are
counted and left out.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.tables.lake import Lake
from ml.data.examples import examples, feed
from ml.data.learned import Record
from ml.evaluation import baselines
from ml.evaluation.baselines import baselines as fitted_baselines
from ml.evaluation.groups import by_group
from ml.evaluation.importance import Importance, contributions, importances, in_pandas
from ml.metrics import Numbers, classification_report, confusion, intervals, measured
from ml.registry.registry import Registry
from ml.scoring.scoring import Model, scored
from silver.tables import OUTCOMES

SHOWN = ("complaint_id", *baselines.COLUMNS, "is_servicemember", "is_older_american")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation; `measures`, `intervals`, `groups`, `baselines` by name (see `ml.metrics`).

    `notes` say which complaints were left out, one sentence each.
    """

    model: str
    version: str
    notes: tuple[str, ...]
    rows: int
    unknown: int
    base_rate: float
    threshold: float
    measures: dict[str, float | None]
    confusion: dict[str, int]
    report: dict[str, dict[str, float | int | None]]
    intervals: dict[str, tuple[float, float] | None]
    groups: dict[str, dict[str, dict[str, Any]]]
    baselines: dict[str, dict[str, Any]]
    importance: tuple[Importance, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the evaluation as one object, with the measures at the top level."""
        values = asdict(self)
        return {**{name: value for name, value in values.items() if name != "measures"}, **values["measures"]}


@dataclass(frozen=True)
class Judged:
    """An evaluation with its rows: labels, and probabilities by the model and each baseline."""

    evaluation: Evaluation
    label: Numbers
    probabilities: dict[str, Numbers]


def evaluate(
    lake: Lake, registry: Registry, progress: Progress, *, version: str | None = None, apart: Lake | None = None
) -> Judged:
    """Evaluate a version, by default the champion, on the test set of its training and on complaints since.

    Args:
        lake: has the version's training data, for the baselines.
        registry: has the version.
        progress: called with a short description of each step.
        version: the version; the champion if None.
        apart: evaluate on the complaints of this lake instead, except those that the version was fitted on.

    Raises:
        ComplaintsError: if there is no champion, or no complaint with a known outcome.
    """
    progress("loading the model")
    model = registry.load(version) if version else registry.champion()
    record, threshold = registry.record(model.version), float(registry.parameters(model.version)["threshold"])
    test = examples(apart).transform(record.apart) if apart else examples(lake).transform(record.unseen)
    progress("scoring")
    table = _scored(test, apart or lake, model)
    rows = table[table["label"].notna()].reset_index(drop=True)
    notes = _notes(record, model.version, examples(apart).count() - len(table) if apart else None)
    if rows.empty:
        msg = (
            f"There is no complaint with a known outcome that the training of version {model.version} did not learn "
            f"from: load some with `complaints load PATH…`. {' '.join(notes)}"
        )
        raise ComplaintsError(msg.rstrip())
    progress("fitting the baselines")
    probabilities = {"model": rows["probability"].to_numpy(dtype=float), **_baseline_probabilities(lake, record, rows)}
    progress("measuring")
    by_feature = contributions(model, test.where("label IS NOT NULL"))
    seed = lake.settings.ml.seed
    found = _metrics(rows, probabilities, threshold, seed)
    evaluation = Evaluation(
        model=model.name,
        version=model.version,
        notes=notes,
        unknown=len(table) - len(rows),
        importance=_importances(by_feature, rows, seed),
        **found,
    )
    return Judged(
        evaluation=evaluation,
        label=rows["label"].to_numpy(dtype=float),
        probabilities=probabilities,
    )


def _notes(record: Record, version: str, left_out: int | None) -> tuple[str, ...]:
    """Return which complaints are not judged, or for an older version of a file's can't be left out.

    Args:
        record: what the version learned from.
        version: the version.
        left_out: complaints of a file that are not judged; None without a file.
    """
    gap = record.gap()
    if left_out is None:
        return (f"Version {version}: {gap}",) if gap else ()
    if gap:
        msg = (
            f"Version {version} was trained by an earlier version of this project, which did not record the complaints "
            "that it was fitted on: those in the file are judged too."
        )
        return (msg,)
    sentence = f"{left_out:,} complaints of the file are left out: version {version} was trained on them or on copies."
    return (sentence,) if left_out else ()


def _scored(test: DataFrame, lake: Lake, model: Model) -> pd.DataFrame:
    """Collect the rows, by id, with probability and monetary relief on the driver; their number is bounded."""
    monetary = lake.read(OUTCOMES).select("complaint_id", F.col("is_monetary_relief").cast("double").alias("monetary"))
    rows = test.withColumn("feed", feed()).transform(scored(model)).select(*SHOWN, "feed", "probability", "scored_with")
    return in_pandas(rows.join(monetary, on="complaint_id", how="left").orderBy("complaint_id"))


def _baseline_probabilities(lake: Lake, record: Record, rows: pd.DataFrame) -> dict[str, Numbers]:
    """Return the baselines' probabilities; empty when the lake has nothing to fit them on."""
    earlier = examples(lake).where("label IS NOT NULL").transform(record.fitted)
    latest = earlier.orderBy(F.desc("date_received"), "complaint_id").limit(baselines.MAX_ROWS)
    frame = in_pandas(latest.select(*baselines.COLUMNS))
    return fitted_baselines(frame, rows) if len(frame["label"].unique()) > 1 else {}


def _importances(by_feature: pd.DataFrame, rows: pd.DataFrame, seed: int) -> tuple[Importance, ...]:
    if by_feature.empty or len(rows["label"].unique()) < 2:  # noqa: PLR2004
        return ()
    label = rows.set_index("complaint_id")["label"].reindex(by_feature.index)
    return tuple(importances(by_feature, label.to_numpy(dtype=float), seed))


def _metrics(rows: pd.DataFrame, probabilities: dict[str, Numbers], threshold: float, seed: int) -> dict[str, Any]:
    label, probability = rows["label"].to_numpy(dtype=float), probabilities["model"]
    counts = confusion(label, probability, threshold)
    others = {name: values for name, values in probabilities.items() if name != "model"}
    return {
        "rows": len(rows),
        "base_rate": float(np.mean(label)),
        "threshold": threshold,
        "measures": measured(label, probability, threshold),
        "confusion": counts,
        "report": classification_report(counts),
        "intervals": intervals(label, probability, threshold, seed=seed),
        "groups": by_group(rows, probabilities, threshold, seed),
        "baselines": {name: measured(label, values, threshold) for name, values in others.items()},
    }
