"""Metrics by group of complaints, to show where and for whom a model is good or not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml.metrics import MEASURES, Numbers, intervals, measured

MIN_ROWS = 30  # per group, below which a metric would be noise
RESAMPLES = 200
RANKING = ("auc_roc", "auc_pr")  # measures that depend only on the order of the probabilities
BUREAUS = r"^(?:equifax|experian|transunion|trans union)"

# Regions of the US Census Bureau.
REGIONS = {
    "Northeast": "CT ME MA NH RI VT NJ NY PA",
    "Midwest": "IL IN MI OH WI IA KS MN MO NE ND SD",
    "South": "DE FL GA MD NC SC VA DC WV AL KY MS TN AR LA OK TX",
    "West": "AZ CO ID MT NV UT WY AK CA HI OR WA",
}
_REGION_OF = {state: region for region, states in REGIONS.items() for state in states.split()}


def with_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the grouping columns by name, one row per complaint; null where it has no group."""
    vulnerable = rows["is_servicemember"].astype(bool) | rows["is_older_american"].astype(bool)
    bureau = rows["company"].fillna("").str.lower().str.contains(BUREAUS)
    return pd.DataFrame(
        {
            "feed": rows["feed"],
            "scored_with": rows["scored_with"],
            "product": rows["product"],
            "submitted_via": rows["submitted_via"],
            "state_group": rows["state"].map(_REGION_OF).fillna("territories, armed forces, or not given"),
            "consumer": np.where(vulnerable, "servicemember or older American", "neither"),
            "company": np.where(bureau, "credit bureaus", "others than the credit bureaus"),
        },
        index=rows.index,
    )


def by_group(
    rows: pd.DataFrame, probabilities: Mapping[str, Numbers], threshold: float, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compute row count, success rate and metrics for each group of at least `MIN_ROWS` rows.

    Args:
        rows: `label`, `monetary`, and the columns that `with_groups` reads.
        probabilities: by name: `model` and the baselines.
        threshold: the model's threshold.
        seed: seed of the intervals.

    Returns:
        By grouping column and group: the model's measures, its AUC-ROC interval, and `scikit_learn_auc_roc`. Monetary
        relief as another outcome has only the measures of `RANKING`; the others are None.
    """
    label = rows["label"].to_numpy(dtype=float)
    found = {
        name: {
            str(value): _group_metrics(label[inside], {n: p[inside] for n, p in probabilities.items()}, threshold, seed)
            for value in sorted(groups.dropna().unique())
            if (inside := (groups == value).to_numpy()).sum() >= MIN_ROWS
        }
        for name, groups in with_groups(rows).items()
    }
    monetary = rows["monetary"].to_numpy(dtype=float)
    known = ~np.isnan(monetary)
    if known.any():
        of_known = {name: values[known] for name, values in probabilities.items()}
        metrics = _group_metrics(monetary[known], of_known, threshold, seed)
        # The probability is of another event, so only its order can be judged.
        undefined = dict.fromkeys(name for name in MEASURES if name not in RANKING)
        found["outcome"] = {"monetary relief alone": {**metrics, **undefined}}
    return {str(name): groups for name, groups in found.items()}


def _group_metrics(label: Numbers, probabilities: Mapping[str, Numbers], threshold: float, seed: int) -> dict[str, Any]:
    model = probabilities["model"]
    baseline = {
        f"{name}_auc_roc": measured(label, values, threshold)["auc_roc"]
        for name, values in probabilities.items()
        if name == "scikit_learn"
    }
    interval = intervals(label, model, threshold, seed=seed, resamples=RESAMPLES)["auc_roc"]
    return {
        "rows": len(label),
        "base_rate": float(label.mean()),
        **measured(label, model, threshold),
        "auc_roc_interval": interval,
        **baseline,
    }
