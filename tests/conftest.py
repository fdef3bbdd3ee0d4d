"""What tests share: one Spark session a process, and a lake of their own each."""

import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from pyspark import SparkContext
from pyspark.sql import SparkSession

from lakehouse.settings import Settings, load_settings
from lakehouse.spark.planned import Planned
from lakehouse.spark.session import start_session
from lakehouse.step import Step
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from ml.registry.registry import Registry
from ml.scoring.scoring import Model
from ml.training.training import Training, train
from silver.expectations import Expectation
from silver.standardize import load_taxonomy
from silver.tables import EXPECTATIONS
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from streaming.batch.quality_assessment import assessment
from streaming.queries.definitions import Queries
from tests.groups import CALLS_SPARK, group_of, grouped
from tests.progress import Progress

pytest_plugins = ["tests.stream_fixtures"]

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

for name in [name for name in os.environ if name.startswith("COMPLAINTS_") and name != "COMPLAINTS_JARS"]:
    del os.environ[name]  # a developer's own settings must not change what the tests say


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this project's tests."""
    parser.addoption("--seed", type=int, help="of the faults that are drawn with -m faults (default: the clock)")
    parser.addoption("--hours", type=float, default=1.0, help="how long faults are drawn with -m faults (default: 1)")
    parser.addoption("--faults", help="draw only from these, separated by commas (default: from all)")
    parser.addoption("--store-seconds", action="store_true", help="note in seconds.yaml what each test file took")


def pytest_configure(config: pytest.Config) -> None:
    """Say what is done and how long is left, unless each test is to be named (`-v`) or this is a worker."""
    is_worker = hasattr(config, "workerinput")
    if not is_worker and config.option.verbose == 0:
        workers = config.getoption("numprocesses", None) or 1
        config.pluginmanager.register(Progress(config, int(workers)), "progress")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Name the test's group: with `-n 2` each group runs in one process."""
    item.add_marker(pytest.mark.xdist_group(group_of(item)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest group first."""
    items[:] = grouped(items)


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


@pytest.fixture(scope="session", autouse=True)
def _tables_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make each declared table once and copy its empty folder after that: making one takes Delta 0.3 s."""
    made: dict[tuple[Table, str], Path] = {}
    make: Callable[[Lake, Table], None] = Lake._make

    def copied(lake: Lake, table: Table) -> None:
        key = (table, str(lake._properties(table)))
        if lake.settings.lake.catalog or lake.path(table).exists():
            make(lake, table)
        elif key in made:
            shutil.copytree(made[key], lake.path(table))
            commit = lake.path(table) / "_delta_log" / f"{0:020}.json"
            text = commit.read_text(encoding="utf-8")
            own_id = re.sub(
                r'(?<="metaData":{"id":")[^"]+', str(uuid4()), text
            )  # by which a checkpoint knows its table
            commit.write_text(own_id, encoding="utf-8")
        else:
            make(lake, table)
            folder = tmp_path_factory.mktemp("empty") / table.name
            made[key] = shutil.copytree(lake.path(table), folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "_make", copied)
        yield


@pytest.fixture(scope="session", autouse=True)
def _steps_planned_once() -> Iterator[None]:
    """Plan each step of a stream once a process, whichever lake it is for: a plan takes seconds and knows no lake.

    What refining does depends on the rules' files and a setting; any other step is the same when it is the same object.
    """
    planned: dict[Step, Planned] = {}
    refinings: dict[str, Step] = {}
    make_refining = Queries.refining

    def plan_of(step: Step) -> Planned:
        return planned.setdefault(step, Planned(step))

    def refining(queries: Queries, expectations: tuple[Expectation, ...]) -> Step:
        rules = f"{load_taxonomy()} {expectations} {queries._lake.settings.silver}"
        return refinings.setdefault(rules, make_refining(queries, expectations))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streaming.queries.definitions.Planned", plan_of)
        patch.setattr("streaming.queries.refine.planned", lambda step, _: plan_of(step))
        patch.setattr(Queries, "refining", refining)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose folder is this test's own."""
    return load_settings(root=tmp_path / "lake")


@pytest.fixture
def lake(spark: SparkSession, settings: Settings) -> Lake:
    """An empty lake of this test's own; its tables are made by the test."""
    return Lake(spark, settings)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a run share; without `-n` the one process has it alone."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


def made_once(folder: Path, make: Callable[[], None]) -> None:
    """Have a shared folder filled by the process that needs it first; the others wait until it is whole."""
    whole = folder / "whole"
    with FileLock(folder.with_suffix(".lock")):
        if not whole.is_file():
            make()
            whole.touch()


@pytest.fixture(scope="session")
def trained_lake(shared_folder: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings of a loaded and trained lake, made once a run; needs Spark in this process only to make it."""
    folder = shared_folder / "trained"
    small = {"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}
    settings = load_settings(root=folder / "lake", ml=small)

    def make() -> None:
        lake = Lake(request.getfixturevalue("spark"), settings)
        files = [SAMPLES / "export-2015-narratives.json.gz", SAMPLES / "export-2017-snake-case.csv.gz"]
        assert not load_files(settings, files, lambda *_: None).errors
        training = train(lake, Registry(settings), lambda _: None)
        (folder / "training.pickle").write_bytes(pickle.dumps(training))

    made_once(folder, make)
    return settings


@pytest.fixture(scope="session")
def scored_lake(shared_folder: Path, trained_lake: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings of a lake with some hundred decided and assessed complaints, made once a run; tests read it."""
    folder = shared_folder / "scored"

    def make() -> None:
        spark, settings = request.getfixturevalue("spark"), copied(trained_lake, folder / "lake")
        assert score_backlog(settings, lambda *_: None)
        assert assessment(settings)
        lake, rule = Lake(spark, settings), {"rule": "state_known", "severity": "warn", "broken": 3}
        broken = {**rule, "query_id": "q", "batch_id": 1, "refined_at": datetime.now(UTC)}
        lake.append(lake.frame([broken], EXPECTATIONS), EXPECTATIONS, "test:1")

    made_once(folder, make)
    return load_settings(root=folder / "lake")


@dataclass(frozen=True)
class Trained:
    """A lake with real complaints in bronze and silver, and a small real champion in its registry."""

    lake: Lake
    training: Training
    model: Model


@pytest.fixture(scope="session")
def trained(spark: SparkSession, trained_lake: Settings) -> Trained:
    """The trained lake, with its training and its champion; tests read it, and copy it when they want to write."""
    training: Training = pickle.loads((trained_lake.folder.parent / "training.pickle").read_bytes())  # noqa: S301 - ours
    return Trained(Lake(spark, trained_lake), training, Registry(trained_lake).champion())


@pytest.fixture(scope="session")
def scored(spark: SparkSession, scored_lake: Settings) -> Lake:
    """The scored lake; tests read it."""
    return Lake(spark, scored_lake)


def copied(settings: Settings, root: Path) -> Settings:
    """Settings of a copy of a lake that a test may write to."""
    left = shutil.ignore_patterns("scratch", "logs", "writer.lock")
    shutil.copytree(settings.folder, root, ignore=left)
    return load_settings(root=root)


def copy_of(trained: Trained, root: Path) -> Lake:
    """A copy of the trained lake that a test may write to."""
    return Lake(trained.lake.spark, copied(trained.lake.settings, root))


def copied_version(lake: Lake, folder: Path) -> Path:
    """Register the first version's files once more, as the next version, in a folder of their own; gives it."""
    registry, client = Registry(lake.settings), MlflowClient()
    run_id = client.get_model_version(registry.name, "1").run_id
    shutil.copytree(mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1"), folder)
    client.create_model_version(registry.name, folder.as_uri(), run_id=run_id)
    return folder


@pytest.fixture(autouse=True)
def _spark_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the streams that a test left running, and have a test that starts Spark take the fixture of its name.

    Otherwise it would start a second Spark, in the process that has the tests without (tests/groups.py).
    """
    was_running = SparkContext._active_spark_context is not None
    yield
    running = SparkContext._active_spark_context
    calls_spark = not CALLS_SPARK.isdisjoint(request.fixturenames)
    if running is not None and calls_spark:
        for query in request.getfixturevalue("spark").streams.active:
            query.stop()
    assert was_running or calls_spark or running is None, "a test that starts Spark must take the fixture `spark`"
