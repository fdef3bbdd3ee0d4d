"""A background server is identified by the lock that its processes hold, and can be stopped."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.process import BackgroundProcess
from tests.stream_fixtures import wait_until

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
IGNORES_SIGTERM = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BackgroundProcess]:
    process = BackgroundProcess(tmp_path)
    yield process
    process.stop()


def test_it_runs_until_it_is_stopped_and_other_processes_see_it(process: BackgroundProcess, tmp_path: Path) -> None:
    assert not process.is_running()
    assert not process.stop()
    process.launch(SLEEP, os.environ, tmp_path / "log")
    assert process.is_running()
    assert BackgroundProcess(tmp_path).is_running()
    assert BackgroundProcess(tmp_path).stop()
    assert not process.is_running()


def test_a_killed_server_is_not_running(process: BackgroundProcess, tmp_path: Path) -> None:
    server = process.launch(SLEEP, os.environ, tmp_path / "log")
    os.kill(process.pid, signal.SIGKILL)
    server.wait()
    assert not process.is_running()
    process.launch(SLEEP, os.environ, tmp_path / "log")
    assert process.is_running()


def test_a_server_that_ignores_sigterm_is_killed(
    process: BackgroundProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.process.STOP_SECONDS", 0.5)
    process.launch(IGNORES_SIGTERM, os.environ, tmp_path / "log")
    wait_until(lambda: "up" in (tmp_path / "log").read_text(), "the server")
    assert process.stop()
    assert not process.is_running()


def test_a_second_server_is_refused(process: BackgroundProcess, tmp_path: Path) -> None:
    process.launch(SLEEP, os.environ, tmp_path / "log")
    with pytest.raises(BlockingIOError):
        process.launch(SLEEP, os.environ, tmp_path / "log")
