"""Compare champion and challenger on the same rows; promote the challenger unless it is worse.

Reads complaints with known outcomes that neither version was trained on.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lakehouse.errors import ComplaintsError
from lakehouse.tables.lake import Lake
from ml.data.examples import examples
from ml.metrics import Numbers, interval_of, measured, resampled
from ml.registry.registry import Registry
from ml.registry.versions import CHAMPION
from ml.scoring.scoring import scored

Interval = tuple[float, float] | None


class WorseError(ComplaintsError):
    """Raised when a challenger is worse than the champion on the same rows."""


@dataclass(frozen=True)
class Side:
    """One version's metrics on the rows of a comparison."""

    version: str
    auc_roc: float | None
    interval: Interval
    log_loss: float | None
    ece: float | None


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same rows; `difference` is the interval of challenger minus champion AUC-ROC.

    The interval is from the paired bootstrap: both versions are evaluated on each sample of rows. `notes` say which
    complaints can't be judged, one sentence each.
    """

    rows: int
    champion: Side
    challenger: Side
    difference: Interval
    notes: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether the challenger is worse beyond chance."""
        return self.difference is not None and self.difference[1] < 0

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as one object."""
        return {**asdict(self), "challenger_is_worse": self.is_worse}


def compared(lake: Lake, registry: Registry, champion: str, challenger: str) -> Comparison:
    """Compare two versions on complaints of the lake that neither was trained on.

    Raises:
        ComplaintsError: if there are none, or a version can't be loaded.
    """
    records = {version: registry.record(version) for version in (champion, challenger)}
    notes = tuple(f"Version {version}: {gap}" for version, record in records.items() if (gap := record.gap()))
    rows = examples(lake).where("label IS NOT NULL")
    for record in records.values():
        rows = rows.transform(record.unseen)
    rows = rows.persist()
    try:
        found = [_probabilities(registry, version, rows) for version in (champion, challenger)]
    finally:
        rows.unpersist()
    ids = sorted(found[0])
    if len({found[0][one][0] for one in ids}) < 2:  # noqa: PLR2004
        msg = (
            f"Versions {champion} and {challenger} can't be compared: the complaints that neither learned from do "
            f"not have both kinds of outcome. Load more with `complaints load PATH…`. {' '.join(notes)}"
        )
        raise ComplaintsError(msg.rstrip())
    label = np.array([found[0][one][0] for one in ids])
    one, other = (np.array([of[one][1] for one in ids]) for of in found)
    return _comparison(label, (champion, one), (challenger, other), lake.settings.ml.seed, notes)


def _probabilities(registry: Registry, version: str, rows: Any) -> dict[int, tuple[float, float]]:  # noqa: ANN401
    scores = rows.transform(scored(registry.load(version))).select("complaint_id", "label", "probability")
    return {row.complaint_id: (row.label, row.probability) for row in scores.collect()}  # bounded: 3 numbers per row


def _comparison(
    label: Numbers, champion: tuple[str, Numbers], challenger: tuple[str, Numbers], seed: int, notes: tuple[str, ...]
) -> Comparison:
    drawn = [resampled(label, values, 0.5, seed=seed)["auc_roc"] for _, values in (champion, challenger)]
    sides = [
        Side(version, figures["auc_roc"], interval_of(samples), figures["log_loss"], figures["ece"])
        for (version, values), samples in zip((champion, challenger), drawn, strict=True)
        for figures in (measured(label, values, 0.5),)
    ]
    return Comparison(len(label), sides[0], sides[1], interval_of(drawn[1] - drawn[0]), notes)


def refusal(comparison: Comparison) -> str:
    """Explain in one sentence why a challenger is not promoted."""
    low, high = comparison.difference or (0.0, 0.0)
    return (
        f"Version {comparison.challenger.version} is not promoted: on the same {comparison.rows:,} complaints its "
        f"AUC-ROC is {comparison.challenger.auc_roc:.3f}, that of the champion, version {comparison.champion.version}, "
        f"{comparison.champion.auc_roc:.3f}; the difference lies between {low:+.3f} and {high:+.3f}, all below zero."
    )


def promote(lake: Lake, registry: Registry, version: str) -> Comparison | None:
    """Make a version the champion, unless it is worse than the champion on the same rows.

    Returns:
        The comparison; None when there was no other champion to compare with.

    Raises:
        WorseError: if it is worse; says by how much.
        ComplaintsError: if they can't be compared.
    """
    champion = registry.version_of(CHAMPION)
    if champion is None or champion == version:
        registry.promote(version)
        return None
    comparison = compared(lake, registry, champion, version)
    if comparison.is_worse:
        raise WorseError(refusal(comparison))
    registry.promote(version)
    return comparison
