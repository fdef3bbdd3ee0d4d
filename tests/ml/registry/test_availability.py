"""A locked or invalid registry is reported as such, without a long wait."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.registry import availability
from ml.registry.availability import UnreachableError
from ml.registry.registry import Registry
from tests.conftest import Trained, copy_of

HOLDING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lake(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(availability, "WAIT_SECONDS", 0.1)
    copy = copy_of(trained, tmp_path / "lake")
    Registry(copy.settings).champion_version()  # the first use of a copy writes the new locations
    return copy


def database(lake: Lake) -> Path:
    return lake.settings.folder / "mlflow" / "mlflow.db"


@contextmanager
def held(lake: Lake, how: str) -> Iterator[None]:
    """Hold the registry's lock in another process."""
    command = [sys.executable, "-c", HOLDING, str(database(lake)), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate("")


def test_a_locked_registry_is_reported_and_works_again_after_the_lock(lake: Lake) -> None:
    registry = Registry(lake.settings)
    sentence = re.escape(
        f"The registry of the model 'complaint_resolution' in {database(lake)} is locked by another process: "
        "wait until that has ended, or stop it."
    )
    with held(lake, "BEGIN EXCLUSIVE"):
        for ask in (registry.champion_version, registry.versions, lambda: registry.load("1"), registry.refuse_locked):
            with pytest.raises(UnreachableError, match=sentence):
                ask()
    assert registry.champion_version() == "1"


def test_a_registry_with_a_write_lock_can_be_read_but_not_written(lake: Lake) -> None:
    registry = Registry(lake.settings)
    with held(lake, "BEGIN IMMEDIATE"):
        assert registry.champion_version() == "1"
        for write in (registry.refuse_locked, lambda: registry.promote("1")):
            with pytest.raises(UnreachableError, match="is locked by another process"):
                write()
    registry.promote("1")


def test_a_copy_whose_locations_cant_be_changed_now_is_not_used_with_those_of_the_original(
    lake: Lake, tmp_path: Path
) -> None:
    moved = lake.settings.folder.rename(tmp_path / "moved")
    registry = Registry(load_settings(root=moved))
    locked = held(Lake(lake.spark, load_settings(root=moved)), "BEGIN IMMEDIATE")
    with locked, pytest.raises(UnreachableError, match="is locked by another process"):
        registry.champion_version()
    assert registry.champion_version() == "1"


def test_a_file_that_is_not_a_registry_is_reported_with_a_remedy(lake: Lake) -> None:
    database(lake).write_bytes(b"no database at all" * 1000)
    with pytest.raises(UnreachableError, match=r"can't be read \(file is not a database\): put a copy of .* back, or"):
        Registry(lake.settings).champion_version()
