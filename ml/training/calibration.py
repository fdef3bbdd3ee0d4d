"""Platt calibration (1999), separate for complaints with and without a narrative.

Fitted on rows used for nothing else. The result is the last stage of the artifact, which adds `slope` and `offset`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pyspark.ml.feature import SQLTransformer
from sklearn.linear_model import LogisticRegression

from ml.metrics import Numbers

PATHS = ("text", "structure")
MIN_ROWS = 100  # per path, and a tenth of that per class; below, the path uses the line fitted on all rows


@dataclass(frozen=True)
class Line:
    """A calibration line: the calibrated logit is slope times the raw logit plus offset."""

    slope: float = 1.0
    offset: float = 0.0


def fitted_lines(raw: Numbers, label: Numbers, path: Numbers) -> dict[str, Line]:
    """Fit one line per path.

    Args:
        raw: raw logits.
        label: 1 for a success, otherwise 0.
        path: one of `PATHS` per row.
    """
    common = _line(raw, label) or Line()
    return {name: _line(raw[path == name], label[path == name]) or common for name in PATHS}


def _line(raw: Numbers, label: Numbers) -> Line | None:
    """Fit Platt's line; None when there are too few rows or the slope would not be positive."""
    if len(label) < MIN_ROWS or min(label.sum(), len(label) - label.sum()) < MIN_ROWS / 10:
        return None
    fitted = LogisticRegression(C=np.inf).fit(raw.reshape(-1, 1), label)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return Line(slope, offset) if slope > 0 else None


def stage(lines: Mapping[str, Line]) -> SQLTransformer:
    """Return the artifact's last stage, which adds `slope` and `offset` of each complaint's path."""
    text, structure = (lines[path] for path in PATHS)
    columns = ", ".join(
        f"CASE WHEN has_narrative THEN {getattr(text, name)!r}D ELSE {getattr(structure, name)!r}D END AS {name}"
        for name in ("slope", "offset")
    )
    return SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__")  # noqa: S608
