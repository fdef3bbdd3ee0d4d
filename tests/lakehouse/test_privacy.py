"""What a lake holds can be read by its owner alone: files of Spark, of Python, and of the processes that they start."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bronze.tables import FILES
from complaints import Invocation
from lakehouse.privacy import OTHERS
from lakehouse.tables.lake import Lake


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    """The umask that most machines begin with."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def opened(folder: Path) -> list[str]:
    """What below a folder somebody else could read or write."""
    return [str(path) for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & OTHERS]


def test_spark_makes_files_that_are_its_owners_alone(lake: Lake) -> None:
    lake.create([FILES])
    lake.append(lake.frame([{"sha256": "a"}], FILES), FILES, "test:1")
    tables = lake.settings.folder / "tables"
    assert list(tables.rglob("*.parquet"))
    assert opened(tables) == []


def test_a_command_closes_the_lake_and_all_that_it_makes(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    (root / "tables").mkdir(parents=True)
    root.chmod(0o755)
    settings = Invocation(str(root), None).settings()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    (settings.folder / "note").write_text("x")
    (settings.folder / "folder").mkdir()
    subprocess.run([sys.executable, "-c", f"open({str(root / 'child')!r}, 'w')"], check=True)
    assert [name for name in opened(root) if not name.endswith("/tables")] == []


def test_a_lake_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    Invocation(str(tmp_path / "lake"), None).settings()
    assert not (tmp_path / "lake").exists()
