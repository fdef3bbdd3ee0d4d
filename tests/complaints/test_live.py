"""`complaints live` shows the dashboards while complaints stream, and leaves nothing running that it started."""

import signal
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import complaints.live
from complaints.stream import grid
from lakehouse.errors import ComplaintsError
from ml.registry.registry import Registry
from streaming.runs.run import ENDLESS, View
from tests.complaints.conftest import Run

URL = "http://127.0.0.1:8088"


class Dashboards:
    """In the place of Superset: notes what it is asked."""

    url = URL

    def __init__(self, *, runs: bool) -> None:
        self.asked: list[str] = []
        self.runs = runs

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(healthy=self.runs)

    def start(self) -> dict[str, str]:
        self.asked.append("start")
        return {} if self.runs else {"operator": "a-password"}

    def stop(self) -> None:
        self.asked.append("stop")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Dashboards]]:
    """Replace Superset, the registry and the stream, which does what is given."""

    def replace(*, runs: bool = False, stream: Callable[[], dict[str, Any]]) -> Dashboards:
        dashboards = Dashboards(runs=runs)
        monkeypatch.setattr(complaints.live, "superset_of", lambda _: dashboards)
        monkeypatch.setattr(Registry, "champion_version", lambda _: "1")
        monkeypatch.setattr(complaints.live, "run_plan", lambda *_, **__: stream())
        monkeypatch.setattr(complaints.live, "print_report", lambda _: None)
        return dashboards

    before = signal.getsignal(signal.SIGTERM)
    yield replace
    signal.signal(signal.SIGTERM, before)


def failed() -> dict[str, Any]:
    msg = "The broker did not start."
    raise ComplaintsError(msg)


def interrupted() -> dict[str, Any]:
    signal.raise_signal(signal.SIGTERM)
    return {"complete": True}


@pytest.mark.parametrize(
    ("stream", "code"),
    [(lambda: {"complete": True}, 0), (lambda: {"complete": False}, 1), (failed, 1), (interrupted, 130)],
    ids=["balanced", "not balanced", "failed", "SIGTERM"],
)
def test_however_the_stream_ends_the_dashboards_stop_too(
    run: Run, stand_ins: Callable[..., Dashboards], tmp_path: Path, stream: Callable[[], dict[str, Any]], code: int
) -> None:
    dashboards = stand_ins(stream=stream)
    answer = run("--root", tmp_path, "live")
    assert answer.code == code
    assert dashboards.asked == ["start", "stop"]
    assert f"Dashboard: {URL}/superset/dashboard/real-time-monitoring/ (account operator)" in answer.out
    assert "operator   a-password" in answer.out


def test_dashboards_that_were_up_before_stay_up(run: Run, stand_ins: Callable[..., Dashboards], tmp_path: Path) -> None:
    dashboards = stand_ins(runs=True, stream=lambda: {"complete": True})
    answer = run("--root", tmp_path, "live")
    assert answer.code == 0
    assert dashboards.asked == ["start"]
    assert "`complaints superset stop` stops it" in answer.out


def test_without_a_model_nothing_is_started(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(complaints.live, "superset_of", lambda _: pytest.fail("Superset was started"))
    answer = run("--root", tmp_path, "live")
    assert answer.code == 1
    assert "complaints train" in answer.err


def test_the_address_below_the_view_is_on_one_line_of_a_narrow_terminal() -> None:
    shown = Console(width=80, file=StringIO())
    address = f"{URL}/superset/dashboard/real-time-monitoring/"
    shown.print(grid(View("sending", 1_234, ENDLESS, {"score": 12}, {"score": 1_100}), f"{address}\nCtrl-C stops"))
    assert isinstance(shown.file, StringIO)
    lines = [line.strip() for line in shown.file.getvalue().splitlines()]
    assert address in lines
    assert "sending: 1,234 sent" in lines
