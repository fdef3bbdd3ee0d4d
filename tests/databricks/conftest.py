"""Fixtures of the bundle's tests: the real Databricks CLI and a local fake workspace in memory.

`DATABRICKS_SANDBOX` names a script that runs a command with both; without it the tests are skipped.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

PROJECT = Path(__file__).resolve().parent.parent.parent
SCRIPT = Path(os.environ.get("DATABRICKS_SANDBOX") or PROJECT.parent / "shared" / "tools" / "databricks-sandbox")
SERVICE_PRINCIPAL = "aaaaaaaa-bbbb-4ccc-dddd-eeeeeeeeeeee"  # the fake workspace's identity for tokens dbapi1…
REQUIRED = {
    "notify": "on-call@example.org",
    "kafka_servers": "broker.example.org:9093",
    "service_principal": SERVICE_PRINCIPAL,
}
TARGETS = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Sandbox:
    """The address of the fake workspace, and the PATH with the CLI."""

    host: str
    path: str


@dataclass(frozen=True)
class Workspace:
    """An empty workspace for one identity, and a copy of the project to deploy from.

    Attributes:
        target: bundle target that the identity deploys: a person in dev, the service principal elsewhere.
        variables: bundle variables, set through the environment.
    """

    sandbox: Sandbox
    target: str
    token: str
    project: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which the CLI and the SDK find the workspace."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "BUNDLE_"))}
        return {
            **others,
            "PATH": self.sandbox.path,
            "DATABRICKS_HOST": self.sandbox.host,
            "DATABRICKS_TOKEN": self.token,
            "DATABRICKS_CONFIG_FILE": str(self.project / "no-profiles"),
            **{f"BUNDLE_VAR_{name}": value for name, value in self.variables.items()},
        }

    @property
    def client(self) -> WorkspaceClient:
        """An SDK client with the same identity."""
        return WorkspaceClient(config=Config(host=self.sandbox.host, token=self.token, auth_type="pat"))

    def bundle(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `databricks bundle …` for the target."""
        executable = shutil.which("databricks", path=self.sandbox.path)
        assert executable
        command = [executable, "bundle", *words, "--target", self.target]
        return subprocess.run(
            command, env=self.environment, cwd=self.project, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The fake workspace: the one of the environment, or one started for the test session."""
    host = os.environ.get("DATABRICKS_HOST", "")
    if host.startswith("http://127.0.0.1:") and shutil.which("databricks"):
        yield Sandbox(host, os.environ["PATH"])
        return
    if not SCRIPT.is_file():
        pytest.skip(f"there is no Databricks sandbox at {SCRIPT} (DATABRICKS_SANDBOX names another place)")
    print_address = 'printf "%s\\n%s\\n" "$DATABRICKS_HOST" "$PATH"; cat'
    with subprocess.Popen([str(SCRIPT), "bash", "-c", print_address], stdin=-1, stdout=-1, text=True) as running:
        assert running.stdin
        assert running.stdout
        host, path = (running.stdout.readline().strip() for _ in range(2))
        assert host.startswith("http://127.0.0.1:")
        yield Sandbox(host, path)
        running.stdin.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that the CLI does not touch a developer's own bundle state."""
    copy = tmp_path_factory.mktemp("bundle") / "project"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "*.egg-info", "docs", "tests")
    shutil.copytree(PROJECT, copy, ignore=unwanted)
    (copy / ".venv").symlink_to(PROJECT / ".venv")
    return copy


def new_workspace(sandbox: Sandbox, project: Path, target: str) -> Workspace:
    """Return an empty workspace of its own: the fake server has separate state for each token."""
    shutil.rmtree(project / ".databricks", ignore_errors=True)
    is_person = target == "dev"
    token = f"dbapi{0 if is_person else 1}{uuid.uuid4().hex}"
    return Workspace(sandbox, target, token, project, {} if is_person else REQUIRED)
