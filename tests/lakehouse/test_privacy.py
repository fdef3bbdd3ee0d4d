"""Only the owner can read a lake's files: those of Spark, of Python, and of their child processes."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bronze.tables import FILES
from complaints import Invocation
from lakehouse.privacy import OTHERS
from lakehouse.tables.lake import Lake


@pytest.fixture(autouse=True)
def _default_umask() -> Iterator[None]:
    """Set the default umask of most machines."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def accessible_to_others(folder: Path) -> list[str]:
    """Files below a folder that other users could read or write."""
    return [str(path) for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & OTHERS]


def test_spark_creates_files_that_only_the_owner_can_read(lake: Lake) -> None:
    table = replace(FILES, name="bronze.own")  # not a copy of a table that other tests created
    lake.create([table])
    lake.append(lake.frame([{"sha256": "a"}], table), table, "test:1")
    tables = lake.settings.folder / "tables"
    assert list(tables.rglob("*.parquet"))
    assert accessible_to_others(tables) == []


def test_a_command_makes_the_lake_and_its_new_files_private(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    (root / "tables").mkdir(parents=True)
    root.chmod(0o755)
    settings = Invocation(str(root), None).settings()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    (settings.folder / "note").write_text("x")
    (settings.folder / "folder").mkdir()
    subprocess.run([sys.executable, "-c", f"open({str(root / 'child')!r}, 'w')"], check=True)
    assert [name for name in accessible_to_others(root) if not name.endswith("/tables")] == []


def test_a_missing_lake_folder_is_not_created(tmp_path: Path) -> None:
    Invocation(str(tmp_path / "lake"), None).settings()
    assert not (tmp_path / "lake").exists()
