"""`complaints live` streams sample complaints with the dashboards up, and Ctrl-C leaves nothing running."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from lakehouse.settings import Settings
from lakehouse.sql.query import query
from streaming.tables import TABLES
from tests.conftest import copied
from tests.dashboards.live.conftest import free_port
from tests.stream_fixtures import wait_until

pytestmark = pytest.mark.superset


@pytest.fixture
def lake(scored_lake: Settings, tmp_path: Path) -> Settings:
    """A scored lake of its own."""
    return copied(scored_lake, tmp_path / "lake")


@pytest.fixture
def live(lake: Settings) -> Iterator["subprocess.Popen[str]"]:
    """`complaints live` in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-c", "from complaints import main; main()", "--root", str(lake.folder), "live"]
    environment = {**os.environ, "COMPLAINTS_SUPERSET__PORT": str(free_port()), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        yield running
        for process in processes_of(lake.folder):
            process.kill()


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes that name this folder in their command or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            named = any(str(folder) in word for word in process.cmdline()) or str(folder) in process.cwd()
        except psutil.Error:
            continue
        if named:
            found.append(process)
    return found


@pytest.mark.timeout(600)
def test_live_shows_its_address_decides_on_what_it_sends_and_leaves_nothing_running(
    lake: Settings, live: "subprocess.Popen[str]"
) -> None:
    assert live.stdout
    said = ""
    while not (shown := re.search(r"^Dashboard: (\S+) ", said, re.MULTILINE)):
        line = live.stdout.readline()
        assert line, said
        said += line
    assert requests.get(shown[1], timeout=60).status_code == 200
    before = decisions(lake)
    wait_until(lambda: decisions(lake) > before + 50, "the decisions on the complaints sent")
    os.killpg(live.pid, signal.SIGINT)
    rest = live.stdout.read()
    assert live.wait(60) == 0, said + rest
    assert "every message is accounted for" in rest
    assert processes_of(lake.folder) == []


def decisions(lake: Settings) -> int:
    found: int = query(lake, TABLES, "SELECT count(*) FROM gold.decisions").rows[0][0]
    return found
