"""A live stream refines and scores; before the first training there is none, and loading refines."""

from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from streaming.batch.backlog import not_due, score_backlog
from streaming.batch.processing_owner import streams
from tests.conftest import Trained


def test_without_a_champion_there_is_no_stream_and_no_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_STREAMING__LIVE", "true")
    settings = load_settings(root=tmp_path)
    assert not streams(settings)
    assert "run `complaints train` first" in str(not_due(settings))


def test_with_a_champion_a_live_stream_scores(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trained.lake.settings.root
    assert not streams(load_settings(root=root))
    assert not_due(load_settings(root=root)) is None
    monkeypatch.setenv("COMPLAINTS_STREAMING__LIVE", "true")
    settings = load_settings(root=root)
    assert streams(settings)
    assert not_due(settings) == "a stream scores continuously here (streaming.service.live is true)."
    with pytest.raises(ComplaintsError, match="Nothing was scored: a stream scores continuously here"):
        score_backlog(settings, lambda *_: None)
