"""Calibration: make probabilities true, apart for complaints with and without a narrative (Platt 1999).

Fitted on rows used for nothing else. The result is a last stage of the artifact, which adds `slope` and `offset`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pyspark.ml.feature import SQLTransformer
from sklearn.linear_model import LogisticRegression

from ml.metrics import Numbers

PATHS = ("text", "structure")
FEWEST_ROWS = 100  # of a path, and of each class a tenth of that; below, the path takes what all rows say


@dataclass(frozen=True)
class Line:
    """The calibrated logit is slope times the raw one plus offset."""

    slope: float = 1.0
    offset: float = 0.0


def fitted_lines(raw: Numbers, label: Numbers, path: Numbers) -> dict[str, Line]:
    """A line a path.

    Args:
        raw: raw logits.
        label: 1 for a success, otherwise 0.
        path: a value of `PATHS` a row.
    """
    common = _line(raw, label) or Line()
    return {name: _line(raw[path == name], label[path == name]) or common for name in PATHS}


def _line(raw: Numbers, label: Numbers) -> Line | None:
    """Platt's line, or None where the rows can't carry one: too few, or a higher score would mean less success."""
    if len(label) < FEWEST_ROWS or min(label.sum(), len(label) - label.sum()) < FEWEST_ROWS / 10:
        return None
    fitted = LogisticRegression(C=np.inf).fit(raw.reshape(-1, 1), label)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return Line(slope, offset) if slope > 0 else None


def stage(lines: Mapping[str, Line]) -> SQLTransformer:
    """The last stage of the artifact: adds `slope` and `offset` of the path that a complaint is scored on."""
    text, structure = (lines[path] for path in PATHS)
    columns = ", ".join(
        f"CASE WHEN has_narrative THEN {getattr(text, name)!r}D ELSE {getattr(structure, name)!r}D END AS {name}"
        for name in ("slope", "offset")
    )
    return SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__")  # noqa: S608
