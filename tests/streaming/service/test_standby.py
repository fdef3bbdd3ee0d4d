"""When a standby waits and when it does not; `test_kill` covers the takeover from a killed stream."""

import os
import threading
from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake, writer_lock
from streaming.service.standby import stand_by
from tests.conftest import SAMPLES


def test_without_a_running_stream_a_standby_gets_the_writer_lock_at_once(lake: Lake) -> None:
    notices: list[str] = []
    handover = stand_by(lake.settings, [], notices.append, threading.Event())
    assert handover is not None
    assert handover.model is None
    assert notices == []
    with pytest.raises(ComplaintsError, match="Another process is writing the lake"):
        writer_lock(lake.settings)
    handover.lock.release()


def test_on_databricks_a_standby_is_refused_because_the_job_restarts_the_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("COMPLAINTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMPLAINTS_LAKE__CATALOG", "main")
    with pytest.raises(ComplaintsError, match="on Databricks the job restarts the stream by itself"):
        stand_by(load_settings(root=tmp_path), [SAMPLES], print, threading.Event())
