"""What the tests of the command line share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from complaints import main


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `complaints` with the given words, in this process."""

    def complaints(*words: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["complaints", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return complaints
