"""What tests share: one Spark session, and a lake of their own each."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from lakehouse.lake import Lake
from lakehouse.session import start_session
from lakehouse.settings import Settings, load_settings
from ml.registry import Registry
from ml.scoring import Model
from ml.training import Training, train
from streaming.load import load_files

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

for name in [name for name in os.environ if name.startswith("COMPLAINTS_") and name != "COMPLAINTS_JARS"]:
    del os.environ[name]  # a developer's own settings must not change what the tests say


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this project's tests."""
    parser.addoption("--seed", type=int, help="of the faults that are drawn with -m faults (default: the clock)")
    parser.addoption("--hours", type=float, default=1.0, help="how long faults are drawn with -m faults (default: 1)")
    parser.addoption("--faults", help="draw only from these, separated by commas (default: from all)")


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the session that all tests share."""
    return load_settings(root=tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="session")
def spark(session_settings: Settings) -> Iterator[SparkSession]:
    """The one Spark session of a test run, as local runs have it."""
    session = start_session(session_settings)
    yield session
    session.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose folder is this test's own."""
    return load_settings(root=tmp_path / "lake")


@pytest.fixture
def lake(spark: SparkSession, settings: Settings) -> Lake:
    """An empty lake of this test's own; its tables are made by the test."""
    return Lake(spark, settings)


@dataclass(frozen=True)
class Trained:
    """A lake with real complaints in bronze and silver, and a small real champion in its registry."""

    lake: Lake
    training: Training
    model: Model


@pytest.fixture(scope="session")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A loaded and trained lake, made once; tests read it, and copy its folder when they want to write."""
    small = {"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}
    lake = Lake(spark, load_settings(root=tmp_path_factory.mktemp("trained") / "lake", ml=small))
    files = [SAMPLES / "export-2015-narratives.json.gz", SAMPLES / "export-2017-snake-case.csv.gz"]
    assert not load_files(lake.settings, files, lambda *_: None).errors
    registry = Registry(lake.settings)
    training = train(lake, registry, lambda _: None)
    return Trained(lake, training, registry.champion())


def copy_of(trained: Trained, root: Path) -> Lake:
    """A copy of the trained lake that a test may write to."""
    left = shutil.ignore_patterns("scratch", "logs", "writer.lock")
    shutil.copytree(trained.lake.settings.folder, root, ignore=left)
    return Lake(trained.lake.spark, load_settings(root=root))


def copied_version(lake: Lake, folder: Path) -> Path:
    """Register the first version's files once more, as the next version, in a folder of their own; gives it."""
    registry, client = Registry(lake.settings), MlflowClient()
    run_id = client.get_model_version(registry.name, "1").run_id
    shutil.copytree(mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1"), folder)
    client.create_model_version(registry.name, folder.as_uri(), run_id=run_id)
    return folder


@pytest.fixture(autouse=True)
def _no_query_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the streams that a test left running, so that none disturbs the next."""
    yield
    if "spark" in request.fixturenames:
        for query in request.getfixturevalue("spark").streams.active:
            query.stop()
