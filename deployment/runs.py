"""Runs of the deployed jobs: start one, wait for it, read what it printed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from databricks.sdk.service.jobs import Run, RunResultState

from deployment.deployment import Deployment, described
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    is_success: bool
    told: str


def start(deployment: Deployment, job: str) -> int:
    """Start a job; gives the run's id.

    Raises:
        ComplaintsError: there is no such job, or it may not be run.
    """
    job_id = deployment.job(job)
    with asking(f"run the job {job}"):
        return int(deployment.client.jobs.run_now(job_id).run_id)


def wait(deployment: Deployment, run_id: int, on_state: Callable[[str], None]) -> Ended:
    """Wait until a run has ended, told of its state every few seconds."""
    while True:
        with asking(f"show the run {run_id}"):
            run = deployment.client.jobs.get_run(run_id)
        result = run.state.result_state if run.state else None
        if result is not None or _never_began(run):
            return Ended(result is RunResultState.SUCCESS, described(run))
        on_state(described(run))
        time.sleep(POLL_SECONDS)


def _never_began(run: Run) -> bool:
    state = run.state.life_cycle_state if run.state else None
    return state is not None and state.value in {"SKIPPED", "INTERNAL_ERROR", "TERMINATED"}


def printed(deployment: Deployment, job: str) -> Iterator[tuple[str, str]]:
    """Each task of a job's latest run with what it printed and its error.

    Raises:
        ComplaintsError: the job never ran, or its output may not be read.
    """
    last = deployment.last_run(job)
    if last is None:
        msg = f"The job {job} never ran: `complaints databricks run {job}` runs it."
        raise ComplaintsError(msg)
    with asking(f"show the run {last.run_id}"):
        tasks = deployment.client.jobs.get_run(int(last.run_id or 0)).tasks or []
    for task in tasks:
        with asking(f"show the output of {task.task_key}"):
            output = deployment.client.jobs.get_run_output(int(task.run_id or 0))
        parts = [output.logs, output.error, output.error_trace]
        yield f"{task.task_key} {described(task)}", "\n".join(part for part in parts if part)
