"""What is deployed of the bundle: the metadata that the CLI writes to the workspace, and the jobs that it lists.

Catalog, schemas, volumes and model are read from the deployed jobs' settings, so they are the ones that the jobs use.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.jobs import BaseRun, Run, RunTask

from deployment.bundle import Bundle
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError


class NothingDeployedError(ComplaintsError):
    """The target has not been deployed by this user or service principal."""


@dataclass(frozen=True)
class Deployment:
    """One deployed target.

    Attributes:
        client: the workspace client.
        target: the target's name.
        commit: the Git commit that was deployed; empty when it was not deployed from a repository.
        jobs: the jobs' ids by their names in the bundle.
    """

    client: WorkspaceClient
    target: str
    commit: str
    jobs: Mapping[str, int]

    def job(self, name: str) -> int:
        """Return the id of a job.

        Raises:
            ComplaintsError: the deployment has no such job; the message lists its jobs.
        """
        if name not in self.jobs:
            msg = f"The deployment of {self.target} has no job '{name}': its jobs are {', '.join(sorted(self.jobs))}."
            raise ComplaintsError(msg)
        return self.jobs[name]

    def settings(self, name: str = "load") -> dict[str, str]:
        """Return the environment of a job: where its tables, volumes and model are."""
        with asking(f"show the job {name}"):
            job = self.client.jobs.get(self.job(name)).settings
        clusters = [cluster.new_cluster for cluster in (job.job_clusters if job else None) or []]
        return next((cluster.spark_env_vars for cluster in clusters if cluster and cluster.spark_env_vars), {})

    def last_run(self, name: str) -> BaseRun | None:
        """Return the latest run of a job; None when it never ran."""
        job_id = self.job(name)
        with asking(f"list the runs of the job {name}"):
            return next(iter(self.client.jobs.list_runs(job_id=job_id, limit=1)), None)


def find_deployment(client: WorkspaceClient, bundle: Bundle, user: str) -> Deployment:
    """Find the deployment of a bundle's target.

    Raises:
        NothingDeployedError: there is none; the message says how to deploy.
        ComplaintsError: it can't be read.
    """
    path = f"{bundle.root_path(user)}/state/metadata.json"
    try:
        with asking(f"read {path}"), client.workspace.download(path) as file:
            config: dict[str, Any] = json.loads(file.read())["config"]
    except ComplaintsError as error:
        if not isinstance(error.__cause__, NotFound):
            raise
        how = f"`databricks bundle deploy --target {bundle.target}`"
        msg = f"Nothing is deployed at {bundle.root_path(user)}: run {how}."
        raise NothingDeployedError(msg) from error
    jobs = {name: int(job["id"]) for name, job in config.get("resources", {}).get("jobs", {}).items()}
    return Deployment(client, bundle.target, config["bundle"].get("git", {}).get("commit", ""), jobs)


def described(run: BaseRun | Run | RunTask | None) -> str:
    """Describe a run or one of its tasks: its state, when it began, and why it failed."""
    if run is None or run.state is None:
        return "never ran"
    state = run.state
    outcome = state.result_state or state.life_cycle_state
    began = f", began {datetime.fromtimestamp(run.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC" if run.start_time else ""
    why = f": {state.state_message}" if state.state_message else ""
    return f"{outcome.value.lower() if outcome else 'unknown'}{began}{why}"
