"""One HTML page of an evaluation, whole in itself: figures, groups, baselines and pictures."""

import base64
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ml.evaluation import Evaluation, Judged
from ml.plots import NAMES, plots

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:32rem;width:48%}"
)
GROUP = ("rows", "base_rate", "auc_roc", "auc_pr", "ece", "brier")
PER_BASELINE = ("auc_roc", "auc_pr", "log_loss", "brier", "ece")


def written(judged: Judged, folder: Path) -> Path:
    """Write the page, and each picture as a file of its own, into the folder; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = plots(judged)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    path = folder / "report.html"
    path.write_text(_page(judged.evaluation, figures.values()), encoding="utf-8")
    return path


def _page(evaluation: Evaluation, figures: Iterable[Figure]) -> str:
    title = f"Version {escape(evaluation.version)} of {escape(evaluation.model)}"
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>',
            f"<h1>{title}</h1>",
            _introduction(evaluation),
            "<h2>Figures</h2>",
            _table(("measure", "value", "interval"), _measures(evaluation)),
            f"<h2>Called successful from a probability of {evaluation.threshold:.2f} up</h2>",
            _table(("", "was successful", "was not"), _confusion(evaluation.confusion)),
            _table(("class", "precision", "recall", "f1", "rows"), _classes(evaluation)),
            "<h2>Beside baselines on the same rows</h2>",
            _table(("", *PER_BASELINE), _baselines(evaluation)),
            "<h2>Pictures</h2>",
            *(_image(figure) for figure in figures),
            "<h2>By group</h2>",
            *(_group(name, groups) for name, groups in evaluation.groups.items()),
            "<h2>Importance</h2>",
            _table(
                ("feature", "AUC-ROC lost when shuffled", "spread of its contribution, logits"),
                [(one.feature, one.auc_loss, one.spread) for one in evaluation.importance],
            ),
            "</html>",
        ]
    )


def _introduction(evaluation: Evaluation) -> str:
    return (
        f"<p>{evaluation.rows:,} complaints with a known outcome that it did not learn from, of which "
        f"{evaluation.base_rate:.1%} ended successfully; {evaluation.unknown:,} without a known outcome were left out. "
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Intervals are 95 % bootstrap intervals.</p>"
    )


def _measures(evaluation: Evaluation) -> list[tuple[object, ...]]:
    return [(name, value, _range(evaluation.intervals[name])) for name, value in evaluation.measures.items()]


def _confusion(counts: dict[str, int]) -> list[tuple[object, ...]]:
    return [
        ("called successful", counts["true_positive"], counts["false_positive"]),
        ("not called so", counts["false_negative"], counts["true_negative"]),
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
            _range(figures["auc_roc_interval"]),
            figures.get("scikit_learn_auc_roc"),
        )
        for value, figures in groups.items()
    ]
    return _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _range(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _image(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    title = figure.axes[0].get_title()
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{encoded}">'
