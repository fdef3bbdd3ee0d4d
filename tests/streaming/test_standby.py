"""A standby waits beside a stream and goes on in its place when that one is killed; all rows are counted afterwards."""

import os
import signal
import threading
from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake, writer
from lakehouse.settings import load_settings
from streaming.broker import Broker
from streaming.standby import FOLDER, stand_by
from tests.conftest import SAMPLES, Trained
from tests.streaming.conftest import wait_until
from tests.streaming.test_faults import generator, settled
from tests.streaming.test_kill import A_TIME, Stream, lake_with_topics, send, start, streams

__all__ = ["streams"]  # the fixture


@pytest.mark.timeout(900)
def test_a_standby_goes_on_when_the_stream_is_killed_and_nothing_is_lost_or_counted_twice(
    trained: Trained, tmp_path: Path, streams: list[Stream]
) -> None:
    with Broker(tmp_path / "broker") as broker:
        settings = lake_with_topics(trained, tmp_path, broker)
        made = generator()
        sent = send(settings, made)
        at_work = start(settings)
        streams.append(at_work)
        wait_until(lambda: at_work.is_alive() and "Streaming from" in at_work.output, A_TIME, "the stream's start")
        standby = start(settings, "--standby")
        streams.append(standby)
        aside = settings.folder / FOLDER / "tables" / "gold" / "decisions" / "_delta_log"
        wait_until(lambda: standby.is_alive() and any(aside.glob("*1.json")), A_TIME, "a batch of the warm-up")
        assert at_work.is_alive(), "the one at work is left alone"
        sent += send(settings, made)

        at_work.signal_all(signal.SIGKILL)
        settled(standby, sent, broker)
        assert not (settings.folder / FOLDER).exists()


def test_where_nobody_streams_a_standby_has_the_right_to_write_at_once(lake: Lake) -> None:
    told: list[str] = []
    handover = stand_by(lake.settings, [], told.append, threading.Event())
    assert handover is not None
    assert handover.model is None
    assert told == []
    with pytest.raises(ComplaintsError, match="Another process is writing the lake"):
        writer(lake.settings)
    handover.right.release()


def test_on_databricks_there_is_no_standby_and_it_says_who_starts_the_stream_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("COMPLAINTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMPLAINTS_LAKE__CATALOG", "main")
    with pytest.raises(ComplaintsError, match="on Databricks the job starts the stream again by itself"):
        stand_by(load_settings(root=tmp_path), [SAMPLES], print, threading.Event())
