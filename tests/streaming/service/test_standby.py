"""Who stands by, and who needs not; that a standby goes on where a stream was killed is in `test_kill`."""

import os
import threading
from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake, writer_lock
from streaming.service.standby import stand_by
from tests.conftest import SAMPLES


def test_where_nobody_streams_a_standby_has_the_right_to_write_at_once(lake: Lake) -> None:
    told: list[str] = []
    handover = stand_by(lake.settings, [], told.append, threading.Event())
    assert handover is not None
    assert handover.model is None
    assert told == []
    with pytest.raises(ComplaintsError, match="Another process is writing the lake"):
        writer_lock(lake.settings)
    handover.lock.release()


def test_on_databricks_there_is_no_standby_and_it_says_who_starts_the_stream_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("COMPLAINTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMPLAINTS_LAKE__CATALOG", "main")
    with pytest.raises(ComplaintsError, match="on Databricks the job starts the stream again by itself"):
        stand_by(load_settings(root=tmp_path), [SAMPLES], print, threading.Event())
