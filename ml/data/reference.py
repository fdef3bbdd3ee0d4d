"""Reference distributions of a version's training data, for drift monitoring.

Shares in the test set, the latest complaints that training saw: deciles of the probability, and the most frequent
values of the main features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.metrics import Numbers

FEATURES = ("product", "issue", "company", "state", "submitted_via")
MAX_VALUES = 20
DECILES = 10
OTHER = "other"


@dataclass(frozen=True)
class Reference:
    """Edges of the probability deciles, and by feature the share of each value or decile."""

    edges: tuple[float, ...]
    shares: Mapping[str, Mapping[str, float]]


def reference(rows: pd.DataFrame, probability: Numbers) -> Reference:
    """Compute the reference from complaints with `FEATURES` and their probabilities."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, DECILES + 1)[1:-1]))
    places = np.searchsorted(edges, probability, side="right")
    deciles = {str(at): float((places == at).mean()) for at in range(len(edges) + 1)}
    shares = {name: _shares(rows[name]) for name in FEATURES}
    return Reference(tuple(float(edge) for edge in edges), {"probability": deciles, **shares})


def _shares(values: pd.Series) -> dict[str, float]:
    counted = values.fillna("").value_counts(normalize=True)
    shown = {str(value): float(share) for value, share in counted.head(MAX_VALUES).items()}
    return {**shown, OTHER: max(0.0, 1.0 - sum(shown.values()))}
