"""Calibration corrects the probabilities of each path and never reverses the order of scores."""

import numpy as np
import pytest

from ml.training.calibration import Line, fitted_lines


def test_each_path_gets_the_line_that_fits_its_rows() -> None:
    random = np.random.default_rng(1)
    raw = random.normal(0, 1.5, 20_000)
    path = np.where(np.arange(20_000) % 2 == 0, "text", "structure")
    logit = np.where(path == "text", 2.0 * raw - 1.0, 0.5 * raw + 0.3)
    label = (random.random(20_000) < 1 / (1 + np.exp(-logit))).astype(float)
    lines = fitted_lines(raw, label, path)
    assert (lines["text"].slope, lines["text"].offset) == pytest.approx((2.0, -1.0), abs=0.15)
    assert (lines["structure"].slope, lines["structure"].offset) == pytest.approx((0.5, 0.3), abs=0.1)


def test_a_path_with_few_rows_uses_the_common_line_and_without_rows_the_identity() -> None:
    random = np.random.default_rng(2)
    raw = random.normal(0, 1, 1000)
    label = (random.random(1000) < 1 / (1 + np.exp(-raw))).astype(float)
    path = np.array(["structure"] * 990 + ["text"] * 10)
    lines = fitted_lines(raw, label, path)
    assert lines["text"] != Line()
    assert lines["text"].slope == pytest.approx(lines["structure"].slope, abs=0.1)
    nothing = fitted_lines(raw[:0], label[:0], path[:0])
    assert nothing == {"text": Line(), "structure": Line()}


def test_a_line_never_reverses_the_order() -> None:
    raw = np.linspace(-2, 2, 400)
    label = (raw < 0).astype(float)
    label[::7] = 1 - label[::7]
    lines = fitted_lines(raw, label, np.full(400, "text"))
    assert all(line.slope > 0 for line in lines.values())
