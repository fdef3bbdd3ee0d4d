"""The page of an exploration draws one histogram per feature with more than two values, and no empty frame."""

import pandas as pd

from ml.evaluation.exploration import NUMBERS
from ml.evaluation.exploration_page import histograms


def test_each_histogram_has_a_feature_and_no_empty_frame_is_drawn() -> None:
    frame = pd.DataFrame({name: [0, 1, 2 if name == "questions" else 1] for name in NUMBERS})
    frames = [axes for axes in histograms(frame).axes if axes.axison]
    assert [axes.get_title() for axes in frames] == ["questions"]
