"""Fixtures for the tests of the command line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from complaints import main


@dataclass(frozen=True)
class Answer:
    """The result of a command: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `complaints` with the given arguments in this process."""

    def complaints(*words: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["complaints", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return complaints
