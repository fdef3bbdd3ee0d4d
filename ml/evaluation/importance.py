"""Feature importance: spread of the contributions, and AUC-ROC lost when a feature is shuffled.

For a linear model both follow exactly from each row's contributions, without scoring again: shuffling a feature across
rows shuffles its contribution (permutation importance, Breiman 2001).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ml.features.pipeline import INPUTS
from ml.metrics import Numbers, measured
from ml.scoring import influences
from ml.scoring.scoring import Model

MAX_ROWS = 20_000
SHUFFLES = 5


@dataclass(frozen=True)
class Importance:
    """Importance of one feature: standard deviation of its contribution in logits, and AUC-ROC loss."""

    feature: str
    spread: float
    auc_loss: float


def contributions(model: Model, rows: DataFrame) -> pd.DataFrame:
    """Compute contributions to the logit: one row per `complaint_id`, one column per feature.

    The result is empty for a model that isn't linear.
    """
    moved = influences.contributions(model.fitted)
    if moved is None:
        return pd.DataFrame(index=pd.Index([], name="complaint_id"))
    scored = model.fitted.transform(rows.select("complaint_id", *INPUTS).limit(MAX_ROWS))
    long = scored.select("complaint_id", F.explode(moved).alias("moved")).select(
        "complaint_id", F.substring_index("moved.feature", ": ", 1).alias("feature"), "moved.contribution"
    )
    return in_pandas(long).pivot_table(index="complaint_id", columns="feature", values="contribution", aggfunc="sum")


def importances(moved: pd.DataFrame, label: Numbers, seed: int) -> list[Importance]:
    """Compute each feature's importance on labeled rows, most important first."""
    random = np.random.default_rng(seed)
    logit = moved.to_numpy().sum(axis=1)
    full = _auc(logit, label)
    found = []
    for feature in moved.columns:
        part = moved[feature].to_numpy()
        lost = [full - _auc(logit - part + random.permutation(part), label) for _ in range(SHUFFLES)]
        found.append(Importance(str(feature), float(part.std()), float(np.mean(lost))))
    return sorted(found, key=lambda importance: -importance.auc_loss)


def in_pandas(rows: DataFrame) -> pd.DataFrame:
    """Collect rows on the driver, which must be able to hold them."""
    frame: Any = rows.toPandas()
    return pd.DataFrame(frame)


def _auc(logit: Numbers, label: Numbers) -> float:
    return measured(label, 1 / (1 + np.exp(-logit)), 0.5)["auc_roc"] or 0.5
