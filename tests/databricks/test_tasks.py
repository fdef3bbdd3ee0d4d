"""Every task of every job runs locally: the wheel's entry point, the deployed job's parameters.

Spark and everything that the environment names is local: Spark's catalog stands in for Unity Catalog, folders for
volumes, sqlite for MLflow, the embedded broker for Kafka. The tasks' parameters are not changed.
"""

import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest
from pyspark.sql import SparkSession

from deployment.warehouse import DECISIONS, PROGRESS
from streaming.kafka.broker import Broker
from tests.conftest import SAMPLES
from tests.databricks.conftest import Sandbox, Workspace, new_workspace
from tests.stream_fixtures import WAIT_SECONDS

pytestmark = pytest.mark.bundle

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import PythonWheelTask


LAYERS = ("bronze", "silver", "gold", "ml")
SENT = 600


class Tasks:
    """The tasks of the deployed jobs, each with its parameters and its cluster's environment."""

    def __init__(self, local: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._local = local
        self._monkeypatch = monkeypatch
        self._tasks: dict[str, tuple[PythonWheelTask, Mapping[str, str]]] = {}
        self.left: set[str] = set()

    def add(self, workspace: Workspace, at: str = "") -> None:
        """Add the deployed tasks, each under its job's and its own name, prefixed with `at`."""
        for base in workspace.client.jobs.list():
            job = workspace.client.jobs.get(base.job_id or 0).settings
            assert job
            name = str(job.name).rpartition(" ")[2]
            clusters = {cluster.job_cluster_key: cluster.new_cluster for cluster in job.job_clusters or []}
            for task in job.tasks or []:
                cluster = clusters[str(task.job_cluster_key)]
                assert cluster
                assert task.python_wheel_task
                task_and_environment = (task.python_wheel_task, cluster.spark_env_vars or {})
                self._tasks[f"{at}{name}/{task.task_key}"] = task_and_environment
        self.left = {name.removeprefix("staging ") for name in self._tasks}

    def run(self, name: str) -> None:
        """Call the task's entry point with its parameters; asserts that it succeeds."""
        wheel, environment = self._tasks[name]
        with self._monkeypatch.context() as patch:
            for variable, value in {**environment, **self._local}.items():
                patch.setenv(variable, value)
            patch.setattr(sys, "argv", [wheel.package_name, *(wheel.parameters or [])])
            (entry_point,) = entry_points(group="console_scripts", name=str(wheel.entry_point))
            assert entry_point.dist
            assert entry_point.dist.name == wheel.package_name
            code: object = None
            try:
                entry_point.load()()
            except SystemExit as leave:
                code = leave.code
            assert not code, f"{name} ended with {code}"
        self.left.discard(name.removeprefix("staging "))


def deployed(sandbox: Sandbox, project: Path, target: str) -> Workspace:
    """A workspace to which a target was deployed."""
    workspace = new_workspace(sandbox, project, target)
    answer = workspace.bundle("deploy")
    assert answer.returncode == 0, answer.stderr
    return workspace


@pytest.fixture
def schemas(spark: SparkSession) -> Iterator[dict[str, str]]:
    """Settings of the layers' schemas, which the bundle creates on Databricks and this fixture here."""
    names = {f"COMPLAINTS_LAKE__SCHEMAS__{layer.upper()}": f"deployed_{layer}" for layer in LAYERS}
    for name in names.values():
        spark.sql(f"CREATE SCHEMA {name}")
    yield names
    for name in names.values():
        spark.sql(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def local(tmp_path: Path, schemas: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Settings that replace what only a workspace has."""
    monkeypatch.chdir(tmp_path)  # MLflow's default location for models
    registry = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "landing").mkdir()
    # MLflow ignores the two variables once its URIs were set, as a local lake's registry does.
    mlflow.set_tracking_uri(registry)
    mlflow.set_registry_uri(registry)
    with Broker(tmp_path / "broker") as broker:
        yield {
            **schemas,
            "COMPLAINTS_ROOT": str(tmp_path / "checkpoints"),
            "COMPLAINTS_LAKE__CATALOG": "spark_catalog",
            "COMPLAINTS_LAKE__FILE_SOURCE": "binaryFile",
            "COMPLAINTS_LAKE__LANDING": str(tmp_path / "landing"),
            "COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "COMPLAINTS_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT",
            "COMPLAINTS_KAFKA__INPUT__REPLICATION": "1",
            "COMPLAINTS_KAFKA__PREDICTIONS__REPLICATION": "1",
            "COMPLAINTS_ML__MODEL": "resolution",
            "COMPLAINTS_ML__EXPERIMENT": "training",
            "COMPLAINTS_ML__GRID": '{"regularisation": [0.003]}',
            "MLFLOW_TRACKING_URI": registry,
            "MLFLOW_REGISTRY_URI": registry,
            "MLFLOW_DFS_TMP": str(tmp_path / "models"),
        }


def stopped_once(done: Callable[[], bool]) -> threading.Thread:
    """Send SIGTERM to this process, as for a canceled run, when `done` holds or after WAIT_SECONDS."""

    def watch() -> None:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end and not done():
            time.sleep(2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def files(spark: SparkSession, table: str) -> int:
    """Return the number of data files of a table's current version."""
    return int(spark.sql(f"DESCRIBE DETAIL {table}").select("numFiles").collect()[0][0])


def check_sql(spark: SparkSession, prod: Workspace) -> None:
    """Run the statements that the warehouse gets: the two of the command line, and the alerts'."""
    decisions = spark.sql(DECISIONS, {"table": "deployed_gold.decisions", "rows": 3})
    assert decisions.count() == 3
    progress = spark.sql(PROGRESS, {"table": "deployed_gold.stream_health"})
    assert {"refine", "score"} <= {row["query"] for row in progress.collect()}
    alerts = json.loads(prod.bundle("validate", "--output", "json").stdout)["resources"]["alerts"]
    found = {}
    for name, alert in alerts.items():
        text = re.sub(r"complaints\.\$\{resources\.schemas\.(\w+)\.name\}", r"deployed_\1", alert["query_text"])
        (row,) = spark.sql(text).collect()
        found[name] = row[alert["evaluation"]["source"]["name"]]
    assert found == {"refused": 0.0, "undecided": 0}


@pytest.mark.timeout(900)
def test_every_task_of_every_job_runs_through_its_entry_point_with_its_parameters(
    sandbox: Sandbox, project: Path, local: dict[str, str], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = Tasks(local, monkeypatch)
    tasks.add(deployed(sandbox, project, "dev"))
    tasks.add(deployed(sandbox, project, "staging"), at="staging ")

    def rows(table: str) -> int:
        return spark.table(f"deployed_{table}").count()

    tasks.run("setup/tables")
    assert rows("gold.decisions") == 0
    landing = Path(local["COMPLAINTS_LAKE__LANDING"])
    shutil.copy(SAMPLES / "export-2015-narratives.json.gz", landing / "an upload of März.json.gz")
    tasks.run("load/load")
    loaded = rows("silver.complaints")
    assert loaded == rows("bronze.complaints") == 300
    tasks.run("load/score")
    assert rows("gold.decisions") == 0, "no model is trained yet"
    tasks.run("train/train")
    tasks.run("train/evaluate")
    tasks.run("train/promote")
    tasks.run("load/score")
    assert rows("gold.decisions") == loaded

    tasks.run("staging smoke/topics")
    tasks.run("staging smoke/produce")
    tasks.run("staging smoke/stream")
    assert rows("gold.decisions") == loaded + SENT

    # In staging and production a stream is always running: loading only lands rows and leaves the rest to it.
    shutil.copy(SAMPLES / "export-2017-snake-case.csv.gz", landing)
    tasks.run("staging load/load")
    tasks.run("staging load/score")
    assert rows("bronze.complaints") == loaded + SENT + 145
    assert rows("silver.complaints") == loaded + SENT
    watching = stopped_once(lambda: rows("gold.decisions") == loaded + SENT + 145)
    tasks.run("stream/stream")
    watching.join()
    assert rows("gold.decisions") == rows("silver.complaints") == loaded + SENT + 145
    tasks.run("quality/quality")
    assert rows("gold.model_quality") > 0
    tasks.run("quality/alerts")
    small = files(spark, "deployed_bronze.complaints")
    tasks.run("maintain/maintain")
    assert files(spark, "deployed_bronze.complaints") < small
    assert rows("gold.decisions") == rows("silver.complaints") == loaded + SENT + 145
    assert tasks.left == set()
    check_sql(spark, new_workspace(sandbox, project, "prod"))
