"""A copied or moved lake has its model: the registry finds its files where the lake is now."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.registry.provenance import signature
from ml.registry.registry import Registry
from ml.registry.relocation import location, relocate
from silver.tables import COMPLAINTS
from streaming.batch.backlog import score_backlog
from tests.conftest import Trained, copied, copy_of

TABLES = """
CREATE TABLE experiments (name TEXT, artifact_location TEXT);
CREATE TABLE runs (artifact_uri TEXT);
CREATE TABLE model_versions (source TEXT, storage_location TEXT);
"""


def stored(database: Path) -> set[str]:
    columns = ("artifact_location FROM experiments", "artifact_uri FROM runs", "source FROM model_versions")
    with sqlite3.connect(database) as connection:
        return {row[0] for column in columns for row in connection.execute(f"SELECT {column}")}


def test_a_moved_lake_is_scored_with_its_own_model(spark: SparkSession, trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "here")
    assert Registry(lake.settings).champion_version() == "1"
    moved = load_settings(root=lake.settings.folder.rename(tmp_path / "there"))
    assert score_backlog(moved, lambda *_: None) == Lake(spark, moved).read(DECISIONS).count() > 100
    registry = Registry(moved)
    version = registry.log(
        trained.model.fitted, parameters={}, metrics={}, signature=signature(trained.lake.read(COMPLAINTS))
    )
    registry.check(version)
    assert not (tmp_path / "here").exists()
    folder = moved.folder / "mlflow"
    outside = {one for one in stored(folder / "mlflow.db") if not one.startswith(location(folder))}
    assert all(one.endswith("/mlruns/0") for one in outside)  # MLflow's own experiment, which is not used


def test_a_copy_and_its_original_each_have_their_own_files(trained: Trained, tmp_path: Path) -> None:
    one = copied(trained.lake.settings, tmp_path / "one")
    Registry(one).check("1")
    other = copied(one, tmp_path / "other")
    first, second = Registry(one), Registry(other)
    shutil.rmtree(tmp_path / "one" / "mlflow" / "artifacts")
    second.load("1")
    with pytest.raises(ComplaintsError, match="its files are gone"):
        first.check("1")
    assert second.champion_version() == "1"  # MLflow's URIs are the process's: each access sets its own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry that was copied here from /before/lake."""
    folder = tmp_path / "lake" / "mlflow"
    (folder / "artifacts" / "run1" / "artifacts").mkdir(parents=True)
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.executescript(TABLES)
        before = "file:///before/lake/mlflow/artifacts"
        connection.executemany(
            "INSERT INTO experiments VALUES (?, ?)",
            [("Default", "/before/mlruns/0"), ("complaints", before), ("remote", "s3://bucket/artifacts")],
        )
        connection.execute("INSERT INTO runs VALUES (?), (?)", (f"{before}/run1/artifacts", f"{before}2/run2"))
        source = f"{before}/run1/artifacts/model"
        connection.execute("INSERT INTO model_versions VALUES (?, ?)", (source, source))
    return folder


def opened(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "mlflow.db", isolation_level=None)


def test_only_locations_below_the_former_folder_change(folder: Path) -> None:
    relocate(opened(folder), folder)
    assert stored(folder / "mlflow.db") == {
        "/before/mlruns/0",
        "s3://bucket/artifacts",
        "file:///before/lake/mlflow/artifacts2/run2",
        location(folder),
        f"{location(folder)}/run1/artifacts",
        f"{location(folder)}/run1/artifacts/model",
    }


def test_a_run_whose_files_are_only_in_the_original_stays_there(folder: Path, tmp_path: Path) -> None:
    original = tmp_path / "original" / "mlflow" / "artifacts"
    (original / "run3" / "artifacts").mkdir(parents=True)
    uri = f"{original.as_uri()}/run3/artifacts"
    with opened(folder) as connection:
        connection.execute("INSERT INTO experiments VALUES ('another', ?)", (original.as_uri(),))
        connection.execute("INSERT INTO runs VALUES (?)", (uri,))
    relocate(opened(folder), folder)
    assert uri in stored(folder / "mlflow.db")
    assert original.as_uri() not in stored(folder / "mlflow.db")  # new runs are written here


def test_a_registry_that_is_opened_through_a_link_is_not_a_copy(folder: Path, tmp_path: Path) -> None:
    relocate(opened(folder), folder)
    before = stored(folder / "mlflow.db")
    (tmp_path / "linked").symlink_to(folder, target_is_directory=True)
    relocate(opened(tmp_path / "linked"), tmp_path / "linked")
    assert stored(folder / "mlflow.db") == before


def test_locations_change_all_or_none(folder: Path) -> None:
    connection = opened(folder)
    connection.execute("CREATE TRIGGER broken BEFORE UPDATE ON model_versions BEGIN SELECT RAISE(ABORT, 'full'); END")
    before = stored(folder / "mlflow.db")
    with pytest.raises(sqlite3.Error, match="full"):
        relocate(connection, folder)
    assert stored(folder / "mlflow.db") == before
    connection.execute("DROP TRIGGER broken")
    relocate(connection, folder)
    assert stored(folder / "mlflow.db") != before
