"""Assessing joins decisions to outcomes as they arrived, leaves out what a version learned from, and repeats itself."""

from pathlib import Path

from gold.tables import DECISIONS, MODEL_QUALITY
from streaming.backlog import score_backlog
from streaming.quality import assess
from tests.conftest import Trained, copy_of


def test_decisions_are_assessed_by_version_and_week_and_again_without_a_second_row(
    trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    score_backlog(lake.settings, lambda *_: None)
    rows = assess(lake.settings)
    assert {row["model_version"] for row in rows} <= {"1"}
    stored = lake.read(MODEL_QUALITY).count()
    assert stored == len(rows)
    again = assess(lake.settings)
    assert [{**row, "assessed_at": None} for row in again] == [{**row, "assessed_at": None} for row in rows]
    assert lake.read(MODEL_QUALITY).count() == stored
    assert lake.read(DECISIONS).count() > 400
