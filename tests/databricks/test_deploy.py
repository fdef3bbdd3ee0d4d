"""A deploy creates each resource once, a destroy removes all of them; both are checked with the SDK."""

import json
import re
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from databricks.sdk.errors import NotFound
from databricks.sdk.service.catalog import Privilege, SecurableType
from databricks.sdk.service.iam import PermissionLevel
from databricks.sdk.service.jobs import PauseStatus

from tests.databricks.conftest import REQUIRED, SERVICE_PRINCIPAL, Sandbox, Workspace, new_workspace
from tests.rooms import PACKAGES

pytestmark = pytest.mark.bundle

JOBS = {"load", "maintain", "quality", "setup", "stream", "train"}
LAYERS = {"bronze", "silver", "gold", "ml"}


@pytest.fixture(scope="module")
def deployed(sandbox: Sandbox, project: Path) -> Workspace:
    """A workspace with one production deployment, which tests only read."""
    workspace = new_workspace(sandbox, project, "prod")
    answer = workspace.bundle("deploy")
    assert answer.returncode == 0, answer.stderr
    return workspace


def job_ids(workspace: Workspace) -> dict[str, int]:
    return {str(job.settings and job.settings.name): int(job.job_id or 0) for job in workspace.client.jobs.list()}


def pause_status(workspace: Workspace, name: str) -> PauseStatus | None:
    """Return the pause status of a job's schedule, file trigger or continuous mode."""
    job = workspace.client.jobs.get(job_ids(workspace)[name]).settings
    assert job
    starter = job.schedule or job.trigger or job.continuous
    return starter.pause_status if starter else None


def test_production_jobs_have_a_service_principal_and_permissions(deployed: Workspace) -> None:
    client = deployed.client
    ids = job_ids(deployed)
    assert set(ids) == {f"complaints {name}" for name in JOBS}
    for job_id in ids.values():
        job = client.jobs.get(job_id)
        assert job.settings
        assert job.run_as_user_name == SERVICE_PRINCIPAL or (
            job.settings.run_as and job.settings.run_as.service_principal_name == SERVICE_PRINCIPAL
        )
        entries = client.permissions.get("jobs", str(job_id)).access_control_list or []
        levels = {
            entry.group_name: entry.all_permissions for entry in entries if entry.group_name and entry.all_permissions
        }
        assert [permission.permission_level for permission in levels["operators"]] == [PermissionLevel.CAN_MANAGE_RUN]
    assert {pause_status(deployed, name) for name in ids} <= {None, PauseStatus.UNPAUSED}


def test_the_wheel_of_the_jobs_contains_code_conf_and_samples_and_no_tests(deployed: Workspace) -> None:
    client = deployed.client
    jobs = [client.jobs.get(job_id).settings for job_id in job_ids(deployed).values()]
    tasks = [task for job in jobs if job for task in job.tasks or []]
    installed = {library.whl for task in tasks for library in task.libraries or [] if library.whl}
    (path,) = installed
    with client.workspace.download(path) as download:
        names = zipfile.ZipFile(BytesIO(download.read())).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders >= {*PACKAGES, "conf", "samples"}
    assert {"conf/settings.yaml", "conf/decisions.yaml", "conf/text/lemmas.txt"} <= set(names)
    assert any(re.fullmatch(r"samples/export-\d{4}-.*\.gz", name) for name in names)
    assert not folders & {"tests", "docs", "resources", "notebooks"}


def test_analysts_can_only_read_gold(deployed: Workspace) -> None:
    granted = {}
    for layer in LAYERS:
        found = deployed.client.grants.get(SecurableType.SCHEMA.value, f"complaints.{layer}")
        granted[layer] = {entry.principal: set(entry.privileges or ()) for entry in found.privilege_assignments or ()}
    assert granted["gold"] == {"analysts": {Privilege.USE_SCHEMA, Privilege.SELECT}}
    assert {name: who for name, who in granted.items() if who} == {"gold": granted["gold"]}


def test_two_alerts_notify_the_on_call_address(deployed: Workspace) -> None:
    alerts = {str(alert.display_name): alert for alert in deployed.client.alerts_v2.list_alerts()}
    assert set(alerts) == {"complaints refused", "complaints undecided"}
    for alert in alerts.values():
        assert "FROM complaints." in str(alert.query_text)
        notification = alert.evaluation.notification
        assert notification
        assert [who.user_email for who in notification.subscriptions or []] == [REQUIRED["notify"]]


def test_layers_volumes_model_experiment_scope_and_warehouse_exist(deployed: Workspace) -> None:
    client = deployed.client
    for layer in LAYERS:
        assert client.schemas.get(f"complaints.{layer}").comment
    for volume in ("bronze.landing", "bronze.checkpoints", "ml.models"):
        assert client.volumes.read(f"complaints.{volume}").comment
    assert client.registered_models.get("complaints.ml.complaint_resolution").comment
    summary = json.loads(deployed.bundle("summary", "--output", "json").stdout)
    experiment = client.experiments.get_experiment(summary["resources"]["experiments"]["training"]["id"]).experiment
    assert experiment
    assert experiment.name == "/Shared/complaints-prod"
    assert [scope.name for scope in client.secrets.list_scopes()] == ["complaints"]
    assert "complaints-prod" in {warehouse.name for warehouse in client.warehouses.list()}


def counts(printed: str) -> dict[str, int]:
    """Return the counts of a plan or a deployment: added, created, changed, deleted, unchanged."""
    return {word.rstrip(","): int(number) for number, word in re.findall(r"(\d+) (?:to )?(\w+,?)", printed)}


def test_a_second_deploy_changes_nothing_and_keeps_ids_and_permissions(deployed: Workspace) -> None:
    before = job_ids(deployed)
    permissions = {name: deployed.client.permissions.get("jobs", str(number)) for name, number in before.items()}
    plan = deployed.bundle("plan")
    assert plan.returncode == 0, plan.stderr
    assert (counts(plan.stdout)["add"], counts(plan.stdout)["change"], counts(plan.stdout)["delete"]) == (0, 0, 0)
    again = deployed.bundle("deploy")
    assert again.returncode == 0, again.stderr
    done = counts((again.stdout + again.stderr).partition("Resources:")[2])
    assert (done["created"], done["changed"], done["deleted"]) == (0, 0, 0)
    assert done["unchanged"] > len(JOBS)
    assert job_ids(deployed) == before
    for name, number in before.items():
        assert deployed.client.permissions.get("jobs", str(number)) == permissions[name]


def test_a_changed_job_shows_in_the_plan_before_it_is_deployed(deployed: Workspace) -> None:
    larger = replace(deployed, variables={**deployed.variables, "node_type": "m5d.4xlarge"})
    plan = larger.bundle("plan")
    assert plan.returncode == 0, plan.stderr
    assert (counts(plan.stdout)["add"], counts(plan.stdout)["change"], counts(plan.stdout)["delete"]) == (
        0,
        len(JOBS),
        0,
    )
    assert all(f"update jobs.{name}" in plan.stdout for name in JOBS)


def test_production_data_is_protected_from_destroy(deployed: Workspace) -> None:
    answer = deployed.bundle("destroy", "--auto-approve")
    assert answer.returncode == 1
    assert "prevent_destroy" in answer.stderr
    renamed = replace(deployed, variables={**deployed.variables, "schema_prefix": "other_"})
    assert renamed.bundle("deploy", "--auto-approve").returncode == 1
    for layer in LAYERS:
        assert deployed.client.schemas.get(f"complaints.{layer}")
    assert set(job_ids(deployed)) == {f"complaints {name}" for name in JOBS}


def test_a_developers_deployment_is_isolated_and_destroy_leaves_nothing(sandbox: Sandbox, project: Path) -> None:
    workspace = new_workspace(sandbox, project, "dev")
    client = workspace.client
    assert workspace.bundle("deploy").returncode == 0
    names = set(job_ids(workspace))
    assert names == {f"[dev tester] complaints {name}" for name in JOBS}
    triggered = names - {"[dev tester] complaints setup"}
    assert {pause_status(workspace, name) for name in triggered} == {PauseStatus.PAUSED}
    for layer in LAYERS:
        assert client.schemas.get(f"complaints_dev.dev_tester_{layer}")
    assert [scope.name for scope in client.secrets.list_scopes()] == ["complaints-tester"]
    folder = "/Workspace/Users/tester@databricks.com/.bundle/complaints/dev"
    assert list(client.workspace.list(f"{folder}/files/resources"))

    answer = workspace.bundle("destroy", "--auto-approve")
    assert answer.returncode == 0, answer.stderr
    assert job_ids(workspace) == {}
    for layer in LAYERS:
        with pytest.raises(NotFound):
            client.schemas.get(f"complaints_dev.dev_tester_{layer}")
    with pytest.raises(NotFound):
        client.registered_models.get("complaints_dev.dev_tester_ml.dev_tester_complaint_resolution")
    assert list(client.secrets.list_scopes()) == []
    assert not [warehouse for warehouse in client.warehouses.list() if "complaints" in str(warehouse.name)]
    with pytest.raises(NotFound):
        client.workspace.get_status(folder)
