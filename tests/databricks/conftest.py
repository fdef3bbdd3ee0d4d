"""What the bundle's tests share: the real Databricks CLI and a fake workspace in memory, on this machine alone.

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
SERVICE_PRINCIPAL = "aaaaaaaa-bbbb-4ccc-dddd-eeeeeeeeeeee"  # whom the fake workspace takes a token dbapi1… for
REQUIRED = {
    "notify": "on-call@example.org",
    "kafka_servers": "broker.example.org:9093",
    "service_principal": SERVICE_PRINCIPAL,
}
TARGETS = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Sandbox:
    """Where the fake workspace answers, and the PATH on which the CLI is."""

    host: str
    path: str


@dataclass(frozen=True)
class Workspace:
    """One empty workspace for one identity, and a copy of the project to deploy from.

    Attributes:
        target: the bundle's target that its owner deploys: a person in dev, the service principal elsewhere.
        variables: the bundle's, as the environment gives them.
    """

    sandbox: Sandbox
    target: str
    token: str
    project: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What the CLI and the SDK find the workspace by."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "BUNDLE_"))}
        return {
            **kept,
            "PATH": self.sandbox.path,
            "DATABRICKS_HOST": self.sandbox.host,
            "DATABRICKS_TOKEN": self.token,
            "DATABRICKS_CONFIG_FILE": str(self.project / "no-profiles"),
            **{f"BUNDLE_VAR_{name}": value for name, value in self.variables.items()},
        }

    @property
    def client(self) -> WorkspaceClient:
        """The SDK's client as the same identity."""
        return WorkspaceClient(config=Config(host=self.sandbox.host, token=self.token, auth_type="pat"))

    def bundle(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`databricks bundle …` for the target."""
        executable = shutil.which("databricks", path=self.sandbox.path)
        assert executable
        command = [executable, "bundle", *words, "--target", self.target]
        return subprocess.run(
            command, env=self.environment, cwd=self.project, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The fake workspace: the one that these tests run inside of, or one that lives as long as they run."""
    host = os.environ.get("DATABRICKS_HOST", "")
    if host.startswith("http://127.0.0.1:") and shutil.which("databricks"):
        yield Sandbox(host, os.environ["PATH"])
        return
    if not SCRIPT.is_file():
        pytest.skip(f"there is no Databricks sandbox at {SCRIPT} (DATABRICKS_SANDBOX names another place)")
    tell = 'printf "%s\\n%s\\n" "$DATABRICKS_HOST" "$PATH"; cat'
    with subprocess.Popen([str(SCRIPT), "bash", "-c", tell], stdin=-1, stdout=-1, text=True) as running:
        assert running.stdin
        assert running.stdout
        host, path = (running.stdout.readline().strip() for _ in range(2))
        assert host.startswith("http://127.0.0.1:")
        yield Sandbox(host, path)
        running.stdin.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that what the CLI notes beside databricks.yml is not a developer's."""
    copy = tmp_path_factory.mktemp("bundle") / "project"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "*.egg-info", "docs", "tests")
    shutil.copytree(PROJECT, copy, ignore=unwanted)
    (copy / ".venv").symlink_to(PROJECT / ".venv")
    return copy


def new_workspace(sandbox: Sandbox, project: Path, target: str) -> Workspace:
    """An empty workspace that nobody else sees: the fake one keeps a world for each token."""
    shutil.rmtree(project / ".databricks", ignore_errors=True)
    is_person = target == "dev"
    token = f"dbapi{0 if is_person else 1}{uuid.uuid4().hex}"
    return Workspace(sandbox, target, token, project, {} if is_person else REQUIRED)
