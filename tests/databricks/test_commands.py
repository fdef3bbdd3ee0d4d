"""`complaints databricks` reports what blocks a deploy, and shows, runs and feeds what is deployed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.catalog import (
    EffectivePermissionsList,
    EffectivePrivilege,
    EffectivePrivilegeAssignment,
    GrantsAPI,
    Privilege,
)
from databricks.sdk.service.sql import (
    ColumnInfo,
    ResultData,
    ResultManifest,
    ResultSchema,
    ServiceError,
    StatementResponse,
    StatementState,
    StatementStatus,
)

from deployment.warehouse import answered
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError
from tests.complaints.conftest import Answer, Run, run
from tests.conftest import SAMPLES
from tests.databricks.conftest import PROJECT, Sandbox, Workspace, new_workspace

__all__ = ["run"]  # the fixture
EXPORT = SAMPLES / "export-2017-snake-case.csv.gz"


class Terminal:
    """Runs `complaints databricks` as the owner of a workspace."""

    def __init__(self, workspace: Workspace, complaints: Run, patch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self._complaints = complaints
        self._patch = patch

    def __call__(self, *words: str | Path, **variables: str) -> Answer:
        workspace = replace(self.workspace, variables={**self.workspace.variables, **variables})
        with self._patch.context() as environment:
            for name, value in workspace.environment.items():
                environment.setenv(name, value)
            place = ("--bundle", workspace.project, "--target", workspace.target)
            return self._complaints("databricks", *words, *place)


@pytest.fixture
def dev(sandbox: Sandbox, project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A developer with an empty workspace."""
    return Terminal(new_workspace(sandbox, project, "dev"), run, monkeypatch)


@pytest.fixture
def prod(sandbox: Sandbox, project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The service principal with an empty workspace."""
    return Terminal(new_workspace(sandbox, project, "prod"), run, monkeypatch)


def line(answer: Answer, what: str) -> str:
    """Return the text of one line of a status."""
    return next(text for text in answer.out.splitlines() if text.startswith(what)).removeprefix(what).strip()


def test_the_status_before_a_deploy_is_ok(dev: Terminal) -> None:
    dev.workspace.client.catalogs.create("complaints_dev")
    answer = dev("status")
    assert answer.code == 0, answer.out
    assert line(answer, "sign-in") == f"ok       tester@databricks.com at {dev.workspace.sandbox.host}"
    assert line(answer, "variables").startswith("ok       the target dev has a value for each of its")
    assert line(answer, "build") == "ok       the wheel can be built"
    assert line(answer, "rights") == "ok       tester@databricks.com owns the catalog"
    assert line(answer, "deployed").endswith("run `databricks bundle deploy --target dev`.")


def test_a_missing_catalog_is_named_with_two_remedies(dev: Terminal) -> None:
    answer = dev("status")
    assert answer.code == 1
    assert line(answer, "catalog") == (
        "problem  The catalog complaints_dev doesn't exist, or tester@databricks.com can't see it: have an "
        "administrator run `databricks catalogs create complaints_dev`, or set BUNDLE_VAR_catalog to an existing one."
    )
    assert line(answer, "rights") == "problem  not checked: see catalog"
    dev.workspace.client.catalogs.create("my_own")
    assert dev("status", catalog="my_own").code == 0


@pytest.mark.parametrize("missing", ["kafka_servers", "notify", "service_principal"])
def test_a_missing_variable_is_named_with_its_environment_variable(prod: Terminal, missing: str) -> None:
    given = {name: value for name, value in prod.workspace.variables.items() if name != missing}
    prod.workspace = replace(prod.workspace, variables=given)
    answer = prod("status")
    assert answer.code == 1
    assert line(answer, "variables").startswith(
        f"problem  The target prod needs a value for the bundle's variable {missing}: set BUNDLE_VAR_{missing}"
    )


def test_an_unknown_target_is_refused_with_a_list_of_targets(dev: Terminal) -> None:
    dev.workspace = replace(dev.workspace, target="production")
    answer = dev("status")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "Error: databricks.yml has no target 'production': choose one of dev, staging, prod.\n"


def test_a_folder_without_a_bundle_and_a_wheel_that_cannot_be_built_are_named(
    dev: Terminal, tmp_path: Path, run: Run
) -> None:
    answer = run("databricks", "status", "--bundle", tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Error: There is no databricks.yml in {tmp_path}: name the project's folder with --bundle.\n"
    shutil.copy(PROJECT / "databricks.yml", tmp_path)
    dev.workspace = replace(dev.workspace, project=tmp_path)
    answer = dev("status")
    assert (
        line(answer, "build") == f"problem  The wheel can't be built: there is no {tmp_path}/.venv, run `make setup`."
    )


def test_missing_credentials_and_an_unreachable_workspace_have_different_messages(
    dev: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = replace(dev.workspace.sandbox, host="http://127.0.0.1:9")
    dev.workspace = replace(dev.workspace, sandbox=unreachable)
    monkeypatch.setattr("deployment.workspace.TIMEOUT_SECONDS", 1)
    assert line(dev("status"), "sign-in").startswith("problem  The workspace can't be reached: check DATABRICKS_HOST")
    dev.workspace = replace(dev.workspace, sandbox=replace(unreachable, host=""), token="")
    assert "run `databricks auth login" in line(dev("status"), "sign-in")


def test_a_missing_privilege_is_named_with_the_grant_that_gives_it(
    dev: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator = replace(dev.workspace, token=dev.workspace.token.replace("dbapi0", "dbapi1"))
    administrator.client.catalogs.create("complaints_dev")
    granted = {Privilege.USE_CATALOG}

    def effective(*_: object, **__: object) -> EffectivePermissionsList:  # the sandbox has no such endpoint
        privileges = [EffectivePrivilege(privilege=privilege) for privilege in granted]
        return EffectivePermissionsList(privilege_assignments=[EffectivePrivilegeAssignment(privileges=privileges)])

    monkeypatch.setattr(GrantsAPI, "get_effective", effective)
    answer = dev("status")
    assert answer.code == 1
    assert line(answer, "rights") == (
        "problem  tester@databricks.com may not create schemas: have the owner run "
        "GRANT CREATE SCHEMA ON CATALOG complaints_dev TO `tester@databricks.com`."
    )
    granted.add(Privilege.CREATE_SCHEMA)
    assert line(dev("status"), "rights") == "ok       tester@databricks.com may create schemas in complaints_dev"


def test_a_refusal_of_the_workspace_is_one_sentence() -> None:
    answer = PermissionDenied("User anna does not have Manage Run permission.\n  at …")
    with pytest.raises(ComplaintsError) as refused, asking("run the job load"):
        raise answer
    assert str(refused.value) == (
        "The workspace refuses to run the job load (User anna does not have Manage Run permission): "
        "docs/databricks.md lists the rights that are needed."
    )


def test_without_kafkas_secrets_the_stream_would_not_start(prod: Terminal) -> None:
    client = prod.workspace.client
    client.catalogs.create("complaints")
    assert prod.workspace.bundle("deploy").returncode == 0
    answer = prod("status")
    assert answer.code == 1
    assert line(answer, "secrets") == (
        "problem  The scope complaints has no kafka-password and no kafka-username, so the stream can't start: "
        "`databricks secrets put-secret complaints KEY`."
    )
    for key in ("kafka-username", "kafka-password"):
        client.secrets.put_secret("complaints", key, string_value="made up")
    answer = prod("status")
    assert answer.code == 0, answer.out
    assert line(answer, "secrets") == "ok       complaints has kafka-password and kafka-username"
    jobs = ("load", "maintain", "quality", "setup", "stream", "train")
    assert line(answer, "jobs").endswith("; ".join(f"{job} never ran" for job in jobs))
    assert "complaints.ml.complaint_resolution: no champion yet" in line(answer, "model")
    assert line(answer, "stream") == "ok       not running"
    host = prod.workspace.sandbox.host.removeprefix("http://")
    (warehouse,) = (each.id for each in client.warehouses.list() if str(each.name) == "complaints-prod")
    assert line(answer, "superset") == (
        f"ok       COMPLAINTS_SUPERSET__WAREHOUSE='databricks://token@{host}?http_path=/sql/1.0/warehouses/{warehouse}"
        "&catalog=complaints&schema=gold'"
    )


def test_deployed_jobs_can_be_run_read_and_given_files(dev: Terminal) -> None:
    answer = dev("run", "setup")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(
        "Error: Nothing is deployed at /Workspace/Users/tester@databricks.com/.bundle/complaints"
    )
    assert dev.workspace.bundle("deploy").returncode == 0

    assert (
        "has no job 'nonsense': its jobs are load, maintain, quality, setup, stream, train."
        in dev("run", "nonsense").err
    )
    assert "The job train never ran: run it with `complaints databricks run train`." in dev("logs", "train").err
    started, ended = dev("run", "setup").out.splitlines()
    assert started.startswith("run ")
    assert ended.startswith("setup ")
    assert dev("logs", "setup").out.startswith("--- tables ")

    landing = "/Volumes/complaints_dev/dev_tester_bronze/landing"
    answer = dev("upload", EXPORT)
    assert (answer.code, answer.out) == (0, f"{landing}/{EXPORT.name} ({EXPORT.stat().st_size:,} bytes)\n")
    arrived = dev.workspace.client.files.download(f"{landing}/{EXPORT.name}").contents
    assert arrived
    assert arrived.read() == EXPORT.read_bytes()
    answer = dev("upload", EXPORT)
    assert (answer.code, answer.out) == (1, "")
    assert EXPORT.name in answer.err
    answer = dev("upload", PROJECT / "pyproject.toml")
    assert (answer.code, answer.out) == (1, "")
    assert "in which no field of a complaint is named" in answer.err


def test_a_sample_of_gold_comes_from_the_warehouse_or_the_error_says_why_not(dev: Terminal) -> None:
    assert dev.workspace.bundle("deploy").returncode == 0
    answer = dev("sample", "--rows", "3")  # the sandbox stores no tables
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Error: The SQL statement did not succeed: unsupported statement")


def test_a_statement_returns_rows_with_columns_or_the_reason_of_its_failure() -> None:
    schema = ResultSchema(columns=[ColumnInfo(name="complaint_id"), ColumnInfo(name="urgency")])
    answer = StatementResponse(
        status=StatementStatus(state=StatementState.SUCCEEDED),
        manifest=ResultManifest(schema=schema),
        result=ResultData(data_array=[["1", "high"], ["2", "low"]]),
    )
    found = answered(answer)
    assert (found.columns, found.rows) == (["complaint_id", "urgency"], [["1", "high"], ["2", "low"]])
    failed = StatementStatus(state=StatementState.FAILED, error=ServiceError(message="no such table"))
    with pytest.raises(ComplaintsError, match=r"The SQL statement did not succeed: no such table\."):
        answered(StatementResponse(status=failed))
    with pytest.raises(ComplaintsError, match="its state is pending"):
        answered(StatementResponse(status=StatementStatus(state=StatementState.PENDING)))
