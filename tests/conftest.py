"""Shared fixtures: one Spark session per process, and a separate lake per test."""

import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from pyspark import SparkContext
from pyspark.sql import SparkSession

from lakehouse.settings import Settings, load_settings
from lakehouse.spark.internals import jvm_of
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
from streaming.batch.full_export import compared
from streaming.batch.load import load_files
from streaming.batch.quality_assessment import assessment
from streaming.queries.definitions import Queries
from tests.groups import CALLS_SPARK, group_of, grouped
from tests.progress import Progress

pytest_plugins = ["tests.stream_fixtures"]

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
LOADED = [SAMPLES / "export-2015-narratives.json.gz", SAMPLES / "export-2017-snake-case.csv.gz"]  # in `trained_lake`

for name in [name for name in os.environ if name.startswith("COMPLAINTS_") and name != "COMPLAINTS_JARS"]:
    del os.environ[name]  # a developer's own settings must not affect the tests


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this project's tests."""
    parser.addoption("--seed", type=int, help="seed of the random faults of -m faults (default: the clock)")
    parser.addoption("--hours", type=float, default=1.0, help="duration of the random faults of -m faults (default: 1)")
    parser.addoption("--faults", help="inject only these faults, separated by commas (default: all)")
    parser.addoption(
        "--store-seconds", action="store_true", help="store the duration of each test file in seconds.yaml"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Report progress and the time left, unless tests are listed (`-v`) or this is a worker."""
    is_worker = hasattr(config, "workerinput")
    if not is_worker and config.option.verbose == 0:
        workers = config.getoption("numprocesses", None) or 1
        config.pluginmanager.register(Progress(config, int(workers)), "progress")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Assign a test to its group: with `-n 2` each group runs in one process."""
    item.add_marker(pytest.mark.xdist_group(group_of(item)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest group first."""
    items[:] = grouped(items)


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the Spark session that all tests share."""
    return load_settings(root=tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="session")
def spark(session_settings: Settings) -> Iterator[SparkSession]:
    """The Spark session of a test process, configured as in local runs."""
    session = start_session(session_settings)
    yield session
    session.stop()


@pytest.fixture(scope="module", autouse=True)
def _tables_forgotten() -> Iterator[None]:
    """Let Delta forget the tables of a module's lakes: it keeps a snapshot with its plans of each for an hour.

    Some four hundred of them fill the heap of 3 GB, and the process spends its time collecting garbage.
    """
    yield
    session = SparkSession.getActiveSession()
    if session is not None:
        jvm_of(session).org.apache.spark.sql.delta.DeltaLog.clearCache()


@pytest.fixture(scope="session", autouse=True)
def _tables_created_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Create each declared table once and copy its empty folder after that: Delta takes 0.3 s for one."""
    made: dict[tuple[Table, str], Path] = {}
    make: Callable[[Lake, Table], None] = Lake._make

    def copied(lake: Lake, table: Table) -> None:
        key = (table, str(lake._properties(table)))
        if not lake.settings.platform.tables_are_files or lake.path(table).exists():
            make(lake, table)
        elif key in made:
            shutil.copytree(made[key], lake.path(table))
            commit = lake.path(table) / "_delta_log" / f"{0:020}.json"
            text = commit.read_text(encoding="utf-8")
            # Checkpoints identify a table by this id.
            own_id = re.sub(r'(?<="metaData":{"id":")[^"]+', str(uuid4()), text)
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
    """Plan each step of a stream once per process: a plan takes seconds and depends on no lake.

    The refine step depends on the rule files and a setting, the scoring step on the models; any other step is cached by
    identity.
    """
    planned: dict[Step, Planned] = {}
    refinings: dict[str, Step] = {}
    scorings: dict[tuple[Model, Model | None], Step] = {}
    make_refining, make_scoring = Queries.refining, Queries.scoring

    def plan_of(step: Step, _: Settings | None = None) -> Planned:
        return planned.setdefault(step, Planned(step))

    def scoring(queries: Queries, model: Model, challenger: Model | None = None) -> Step:
        if (model, challenger) not in scorings:
            scorings[model, challenger] = make_scoring(queries, model, challenger)
        return scorings[model, challenger]

    def refining(queries: Queries, expectations: tuple[Expectation, ...]) -> Step:
        rules = f"{load_taxonomy()} {expectations} {queries._lake.settings.silver}"
        return refinings.setdefault(rules, make_refining(queries, expectations))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streaming.queries.definitions.Planned", plan_of)
        patch.setattr("streaming.batch.load.compared", cache(compared))
        patch.setattr("streaming.batch.load.planned", plan_of)
        patch.setattr("streaming.queries.refine.planned", plan_of)
        patch.setattr("streaming.queries.revise.planned", plan_of)
        patch.setattr("stewardship.replay.planned", plan_of)
        patch.setattr(Queries, "refining", refining)
        patch.setattr(Queries, "scoring", scoring)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a separate folder for each test."""
    return load_settings(root=tmp_path / "lake")


@pytest.fixture
def lake(spark: SparkSession, settings: Settings) -> Lake:
    """An empty lake for each test, which creates the tables that it needs."""
    return Lake(spark, settings)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


def create_once(folder: Path, make: Callable[[], None]) -> None:
    """Let the first process that needs a shared folder fill it; the others wait until it is complete."""
    complete = folder / "complete"
    with FileLock(folder.with_suffix(".lock")):
        if not complete.is_file():
            make()
            complete.touch()


@pytest.fixture(scope="session")
def trained_lake(shared_folder: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings of a loaded and trained lake, created once per run; only creating it needs Spark."""
    folder = shared_folder / "trained"
    small = {"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}
    settings = load_settings(root=folder / "lake", ml=small)

    def make() -> None:
        lake = Lake(request.getfixturevalue("spark"), settings)
        assert not load_files(settings, LOADED, lambda *_: None).errors
        training = train(lake, Registry(settings), lambda _: None)
        (folder / "training.pickle").write_bytes(pickle.dumps(training))

    create_once(folder, make)
    return settings


@pytest.fixture(scope="session")
def scored_lake(shared_folder: Path, trained_lake: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings of a lake with a few hundred scored complaints, created once per run; read-only."""
    folder = shared_folder / "scored"

    def make() -> None:
        spark, settings = request.getfixturevalue("spark"), copied(trained_lake, folder / "lake")
        assert score_backlog(settings, lambda *_: None)
        assert assessment(settings)
        lake, rule = Lake(spark, settings), {"rule": "state_known", "severity": "warn", "broken": 3}
        broken = {**rule, "query_id": "q", "batch_id": 1, "refined_at": datetime.now(UTC)}
        lake.append(lake.frame([broken], EXPECTATIONS), EXPECTATIONS, "test:1")

    create_once(folder, make)
    return load_settings(root=folder / "lake")


@dataclass(frozen=True)
class Trained:
    """A lake with real complaints in bronze and silver, and a small trained champion in its registry."""

    lake: Lake
    training: Training
    model: Model


@pytest.fixture(scope="session")
def trained(spark: SparkSession, trained_lake: Settings) -> Trained:
    """The trained lake, with its training and champion; read-only, tests copy it to write to it."""
    training: Training = pickle.loads((trained_lake.folder.parent / "training.pickle").read_bytes())  # noqa: S301 - written by `trained_lake`
    return Trained(Lake(spark, trained_lake), training, Registry(trained_lake).champion())


@pytest.fixture(scope="session")
def scored(spark: SparkSession, scored_lake: Settings) -> Lake:
    """The scored lake; read-only."""
    return Lake(spark, scored_lake)


def copied(settings: Settings, root: Path) -> Settings:
    """Return the settings of a copy of a lake, which a test may write to."""
    ignored = shutil.ignore_patterns("scratch", "logs", "writer.lock")
    shutil.copytree(settings.folder, root, ignore=ignored)
    return load_settings(root=root)


def copy_of(trained: Trained, root: Path) -> Lake:
    """Return a copy of the trained lake, which a test may write to."""
    return Lake(trained.lake.spark, copied(trained.lake.settings, root))


def copied_version(lake: Lake, folder: Path) -> Path:
    """Register a copy of the first version's files as the next version; returns the new folder."""
    registry, client = Registry(lake.settings), MlflowClient()
    run_id = client.get_model_version(registry.name, "1").run_id
    shutil.copytree(mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1"), folder)
    client.create_model_version(registry.name, folder.as_uri(), run_id=run_id)
    return folder


@pytest.fixture(autouse=True)
def _stop_streams(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop streams that a test left running; fail tests that start Spark without the fixture `spark`.

    Such a test would start a second Spark in a process that runs tests without Spark (see tests/groups.py).
    """
    was_running = SparkContext._active_spark_context is not None
    yield
    running = SparkContext._active_spark_context
    calls_spark = not CALLS_SPARK.isdisjoint(request.fixturenames)
    if running is not None and calls_spark:
        for query in request.getfixturevalue("spark").streams.active:
            query.stop()
    assert was_running or calls_spark or running is None, "a test that starts Spark must take the fixture `spark`"
