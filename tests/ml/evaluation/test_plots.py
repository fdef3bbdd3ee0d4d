"""The plots of an evaluation say what they should: the base rate is a level line, and no text is cut."""

from collections.abc import Mapping

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import average_precision_score

from ml.evaluation.importance import Importance
from ml.evaluation.plots import NAMES, SHOWN, Drawn, plots
from ml.scoring.influences import PLAIN

LABEL = np.array([0, 0, 1, 0, 1, 0, 0, 1, 0, 1], dtype=float)
SCORES = np.array([0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.5, 0.7, 0.8, 0.9])
BASE_RATE = LABEL.mean()


@pytest.fixture(scope="module")
def figures() -> Mapping[str, Figure]:
    by_length = sorted(PLAIN.values(), key=len, reverse=True)
    importance = [Importance(name, 0.1, 0.01 * (SHOWN - place)) for place, name in enumerate(by_length)]
    constant = np.full_like(SCORES, BASE_RATE)
    probabilities = {"model": SCORES, "base_rate": constant, "company_rate": SCORES.round(), "scikit_learn": SCORES}
    return plots(Drawn(LABEL, probabilities, importance))


def line(figure: Figure, name: str) -> Line2D:
    return next(line for line in figure.axes[0].lines if line.get_label() == NAMES[name])


def test_the_base_rate_is_a_level_line_in_the_plot_of_precision_and_recall(figures: Mapping[str, Figure]) -> None:
    recall, precision = line(figures["precision_recall"], "base_rate").get_data()
    assert np.asarray(recall).tolist() == [1, 0]
    assert np.asarray(precision).tolist() == [BASE_RATE, BASE_RATE]


@pytest.mark.parametrize("name", ["model", "company_rate"])
def test_the_area_below_a_line_of_precision_and_recall_is_its_average_precision(
    figures: Mapping[str, Figure], name: str
) -> None:
    drawn = line(figures["precision_recall"], name)
    recall, precision = (np.asarray(values) for values in drawn.get_data())
    scores = {"model": SCORES, "company_rate": SCORES.round()}[name]
    assert drawn.get_drawstyle() == "steps-post"
    assert -np.diff(recall) @ precision[:-1] == pytest.approx(average_precision_score(LABEL, scores))


@pytest.mark.parametrize("name", ["calibration", "roc", "precision_recall", "lift", "importance"])
def test_no_text_of_a_plot_is_cut(figures: Mapping[str, Figure], name: str) -> None:
    figure = figures[name]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    box, size = figure.get_tightbbox(renderer), figure.bbox_inches
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= size.x1
    assert box.y1 <= size.y1
