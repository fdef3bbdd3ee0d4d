"""Every command that loads a model version reports in one sentence why it can't, and exits with 1."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lakehouse.tables.lake import Lake
from ml.registry import availability
from ml.registry.registry import Registry
from tests.conftest import Trained, copied_version, copy_of

from .conftest import Run

CHAMPIONS = (
    ("evaluate",),
    ("score",),
    ("models", "speed"),
    ("stream", "--duration", "0.01"),
    ("run", "--rate", "60", "--duration", "0.01"),
    ("bench", "stream", "--rate", "60", "--duration", "0.01"),
)
OTHERS = (
    ("evaluate", "--version", "2"),
    ("models", "show", "2"),
    ("models", "compare", "1", "2"),
    ("models", "promote", "2"),
)


@pytest.fixture
def lake(trained: Trained, tmp_path: Path) -> Lake:
    """A lake whose registry has a second version: a copy of the first with one truncated file."""
    lake = copy_of(trained, tmp_path / "lake")
    stage = next(copied_version(lake, tmp_path / "files").glob("sparkml/stages/*StringIndexer*/data/*.parquet"))
    stage.write_bytes(stage.read_bytes()[:1000])
    return lake


def test_every_command_reports_a_broken_version(run: Run, lake: Lake) -> None:
    for words in OTHERS:
        answer = run("--root", lake.settings.folder, *words)
        assert answer.code == 1, words
        assert "Version 2 of the model 'complaint_resolution' is broken, its file sparkml/stages/" in answer.err, words
        assert "is not as it was saved: train again with `complaints train`, or" in answer.err, words
        assert "Traceback" not in answer.err
    versions = json.loads(run("--root", lake.settings.folder, "models", "list", "--json").out)["versions"]
    assert {one["number"]: one["aliases"] for one in versions} == {"1": ["champion"], "2": []}


def test_a_broken_champion_is_refused_until_a_rollback(run: Run, lake: Lake) -> None:
    MlflowClient().set_registered_model_alias(Registry(lake.settings).name, "champion", "2")
    for words in CHAMPIONS:
        answer = run("--root", lake.settings.folder, *words)
        assert (answer.code, answer.out) == (1, ""), words
        assert "Error: Version 2 of the model 'complaint_resolution' is broken" in answer.err, words
    answer = run("--root", lake.settings.folder, "models", "rollback")
    assert (answer.code, answer.out) == (0, "version 1 is the champion again, instead of 2\n")


def test_every_command_reports_a_locked_registry(run: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(lake.settings.folder / "mlflow" / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for words in (*CHAMPIONS, *OTHERS, ("train",), ("models", "list"), ("models", "rollback")):
            answer = run("--root", lake.settings.folder, *words)
            assert (answer.code, answer.out) == (1, ""), words
            assert "is locked by another process: wait until that has ended, or stop it." in answer.err, words


def test_an_unknown_version_is_an_error_that_lists_the_versions(run: Run, lake: Lake) -> None:
    for words in (("evaluate", "--version", "9"), ("models", "promote", "9"), ("models", "compare", "1", "9")):
        answer = run("--root", lake.settings.folder, *words)
        assert answer.code == 1
        assert "has no version 9; it has 1, 2." in answer.err, words


def test_a_version_is_not_compared_with_itself(run: Run, lake: Lake) -> None:
    for first in ("1", "champion"):
        answer = run("--root", lake.settings.folder, "models", "compare", first, "1")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == f"Error: {first} and 1 are both version 1: name two versions.\n"
