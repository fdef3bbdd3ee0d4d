"""Plots of an evaluation: ROC, precision and recall, calibration, lift, importance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from ml.evaluation.importance import Importance
from ml.metrics import BINS, Numbers

NAMES = {
    "model": "the model",
    "base_rate": "base rate",
    "company_rate": "company's rate",
    "scikit_learn": "scikit-learn's logistic regression",
}
SHOWN = 15


@dataclass(frozen=True)
class Drawn:
    """Plot data: labels, probabilities by the model and the baselines, and feature importances."""

    label: Numbers
    probabilities: Mapping[str, Numbers]
    importance: Sequence[Importance] = ()


Draw = Callable[[Axes, Drawn], None]


def plots(drawn: Drawn) -> dict[str, Figure]:
    """Return the figures by name; with only one kind of outcome, undefined plots are left out."""
    selected: dict[str, Draw] = {"calibration": _calibration}
    if len(np.unique(drawn.label)) > 1:
        selected |= {"roc": _roc, "precision_recall": _precision_recall, "lift": _lift}
    if drawn.importance:
        selected["importance"] = _importance
    return {name: _figure(draw, drawn) for name, draw in selected.items()}


def _figure(draw: Draw, drawn: Drawn) -> Figure:
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    draw(axes, drawn)
    axes.grid(visible=True, alpha=0.25)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    return figure


def _roc(axes: Axes, drawn: Drawn) -> None:
    for name, probability in drawn.probabilities.items():
        false, true, _ = roc_curve(drawn.label, probability)
        axes.plot(false, true, label=NAMES[name], linewidth=2 if name == "model" else 1)
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")


def _precision_recall(axes: Axes, drawn: Drawn) -> None:
    for name, probability in drawn.probabilities.items():
        precision, recall, _ = precision_recall_curve(drawn.label, probability)
        # Without the last point, which scikit-learn adds at recall 0 and precision 1 whatever the curve: a line to it
        # would make a diagonal of the base rate. Between two thresholds precision isn't linear in recall, so steps.
        recall, precision = np.append(recall[:-1], 0.0), np.append(precision[:-1], precision[-2])
        width = 2 if name == "model" else 1
        axes.plot(recall, precision, drawstyle="steps-post", label=NAMES[name], linewidth=width)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.03))


def _calibration(axes: Axes, drawn: Drawn) -> None:
    probability = drawn.probabilities["model"]
    bin_of = np.minimum((probability * BINS).astype(int), BINS - 1)
    filled = [at for at in range(BINS) if (bin_of == at).any()]
    predicted = [probability[bin_of == at].mean() for at in filled]
    observed = [drawn.label[bin_of == at].mean() for at in filled]
    rows = np.array([(bin_of == at).sum() for at in filled])
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="perfect")
    axes.plot(predicted, observed, marker="o", label="the model")
    axes.bar(predicted, rows / rows.sum(), width=0.03, alpha=0.3, label="share of complaints")
    axes.set(title="Calibration", xlabel="predicted probability", ylabel="observed success rate")


def _lift(axes: Axes, drawn: Drawn) -> None:
    for name, probability in drawn.probabilities.items():
        if name == "base_rate":
            continue
        ordered = drawn.label[np.argsort(-probability, kind="stable")]
        seen = np.arange(1, len(ordered) + 1)
        lift = ordered.cumsum() / seen / drawn.label.mean()
        begin = max(1, len(ordered) // 100)
        axes.plot(seen[begin:] / len(ordered), lift[begin:], label=NAMES[name], linewidth=2 if name == "model" else 1)
    axes.set(title="Lift", xlabel="share of complaints, highest scores first", ylabel="times the success rate")


def _importance(axes: Axes, drawn: Drawn) -> None:
    shown = list(drawn.importance[:SHOWN])[::-1]
    axes.barh([one.feature for one in shown], [one.auc_loss for one in shown])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title("Importance")
    # From the right: centered, it would be cut, since the features' names leave little of the width to the axes.
    axes.set_xlabel("AUC-ROC lost when the feature is shuffled", loc="right")
