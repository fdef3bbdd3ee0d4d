"""Evaluate the champion on complaints that it did not learn from.

Reads scored complaints with `label`; gives figures. Rows whose outcome is unknown are counted and left out.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake
from ml.examples import labelled
from ml.metrics import Numbers, classification_report, confusion, intervals, measured
from ml.registry import Registry
from ml.scoring import scored
from ml.split import Rule
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES

FEWEST_IN_GROUP = 30


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; `measures`, `intervals` and `groups` by name (see `ml.metrics`)."""

    model: str
    version: str
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

    def as_json(self) -> dict[str, Any]:
        """The evaluation as one flat object, measures beside the rest."""
        values = asdict(self)
        return {**{name: value for name, value in values.items() if name != "measures"}, **values["measures"]}


def evaluate(lake: Lake, registry: Registry, progress: Callable[[str], None], *, whole: bool = False) -> Evaluation:
    """Evaluate the champion on the lake's complaints since its split, or with `whole` on all of them.

    Raises:
        ComplaintsError: no champion, or no complaint with a known outcome.
    """
    progress("loading the champion")
    model = registry.champion()
    parameters = registry.parameters(model.version)
    rule, threshold = Rule.from_json(parameters["rule"]), float(parameters["threshold"])
    rows = labelled(*(lake.read(table) for table in (COMPLAINTS, NARRATIVES, OUTCOMES)))
    rows = rows if whole else rows.where(rule.held_out())
    progress("scoring")
    table = _collected(rows.transform(scored(model)))
    known = ~np.isnan(table["label"])
    if not known.any():
        kept = "" if whole else f" that the training of version {model.version} did not learn from"
        msg = f"There is no complaint with a known outcome{kept}: load some with `complaints load PATH…`."
        raise ComplaintsError(msg)
    progress("measuring")
    table = {name: values[known] for name, values in table.items()}
    label, probability, settings = table["label"], table["probability"], lake.settings.ml
    counts = confusion(label, probability, threshold)
    return Evaluation(
        model=model.name,
        version=model.version,
        rows=int(known.sum()),
        unknown=int((~known).sum()),
        base_rate=float(label.mean()),
        threshold=threshold,
        measures=measured(label, probability, threshold),
        confusion=counts,
        report=classification_report(counts),
        intervals=intervals(label, probability, threshold, seed=settings.seed),
        groups=_groups(table, threshold),
        baselines={"base_rate": measured(label, np.full(len(label), label.mean()), threshold)},
    )


def _collected(rows: DataFrame) -> dict[str, Any]:
    columns = ("label", "probability", "scored_with", "product", "submitted_via")
    frame = rows.select(*columns).toPandas()  # bounded by what one evaluates: five values a complaint
    return {name: frame[name].to_numpy(dtype=float if name in columns[:2] else object) for name in columns}


def _groups(table: dict[str, Any], threshold: float) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: _by(table, name, threshold) for name in ("scored_with", "product", "submitted_via")}


def _by(table: dict[str, Any], name: str, threshold: float) -> dict[str, dict[str, Any]]:
    found = {}
    for value in sorted({str(value) for value in table[name] if value is not None}):
        inside = table[name] == value
        label: Numbers = table["label"][inside]
        if len(label) >= FEWEST_IN_GROUP:
            figures = measured(label, table["probability"][inside], threshold)
            found[value] = {"rows": len(label), "base_rate": float(label.mean()), **figures}
    return found
