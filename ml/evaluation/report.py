"""Self-contained HTML report of an evaluation: metrics, groups, baselines and plots."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ml.evaluation.evaluation import Evaluation, Judged
from ml.evaluation.html_page import image, page, spread, table
from ml.evaluation.plots import NAMES, Drawn, plots

GROUP = ("rows", "base_rate", "auc_roc", "auc_pr", "ece", "brier")
PER_BASELINE = ("auc_roc", "auc_pr", "log_loss", "brier", "ece")


def written(judged: Judged, folder: Path) -> Path:
    """Write the report to the folder, and each plot as a separate file; return the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = plots(Drawn(judged.label, judged.probabilities, judged.evaluation.importance))
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    path = folder / "report.html"
    path.write_text(_page(judged.evaluation, figures.values()), encoding="utf-8")
    return path


def _page(evaluation: Evaluation, figures: Iterable[Figure]) -> str:
    return page(
        f"Version {evaluation.version} of {evaluation.model}",
        [
            _introduction(evaluation),
            "<h2>Metrics</h2>",
            table(("measure", "value", "interval"), _measures(evaluation)),
            f"<h2>Predicted successful at a probability of {evaluation.threshold:.2f} or more</h2>",
            table(("", "was successful", "was not"), _confusion(evaluation.confusion)),
            table(("class", "precision", "recall", "f1", "rows"), _classes(evaluation)),
            "<h2>Compared with baselines on the same rows</h2>",
            table(("", *PER_BASELINE), _baselines(evaluation)),
            "<h2>Plots</h2>",
            *(image(figure) for figure in figures),
            "<h2>By group</h2>",
            *(_group(name, groups) for name, groups in evaluation.groups.items()),
            "<h2>Importance</h2>",
            table(
                ("feature", "AUC-ROC lost when shuffled", "spread of its contribution, logits"),
                [(one.feature, one.auc_loss, one.spread) for one in evaluation.importance],
            ),
        ],
    )


def _introduction(evaluation: Evaluation) -> str:
    return (
        f"<p>{evaluation.rows:,} complaints with a known outcome that it was not trained on, of which "
        f"{evaluation.base_rate:.1%} ended successfully; {evaluation.unknown:,} without a known outcome were left out. "
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Intervals are 95 % bootstrap intervals.</p>"
    )


def _measures(evaluation: Evaluation) -> list[tuple[object, ...]]:
    return [(name, value, spread(evaluation.intervals[name])) for name, value in evaluation.measures.items()]


def _confusion(counts: dict[str, int]) -> list[tuple[object, ...]]:
    return [
        ("predicted successful", counts["true_positive"], counts["false_positive"]),
        ("predicted unsuccessful", counts["false_negative"], counts["true_negative"]),
    ]


def _classes(evaluation: Evaluation) -> list[tuple[object, ...]]:
    return [(name, *figures.values()) for name, figures in evaluation.report.items()]


def _baselines(evaluation: Evaluation) -> list[tuple[object, ...]]:
    rows = {"model": evaluation.measures, **evaluation.baselines}
    return [(NAMES[name], *(figures[measure] for measure in PER_BASELINE)) for name, figures in rows.items()]


def _group(name: str, groups: dict[str, dict[str, Any]]) -> str:
    columns = (name.replace("_", " "), *GROUP, "interval of auc_roc", "scikit-learn's auc_roc")
    rows = [
        (
            value,
            *(figures[one] for one in GROUP),
            spread(figures["auc_roc_interval"]),
            figures.get("scikit_learn_auc_roc"),
        )
        for value, figures in groups.items()
    ]
    return table(columns, rows)
