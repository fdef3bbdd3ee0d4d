"""Runs of the deployed jobs: start a run, wait for it, read its output."""

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
    """How a run ended.

    Attributes:
        is_success: whether every task succeeded.
        description: the run's state, when it began, and why it failed.
    """

    is_success: bool
    description: str


def start(deployment: Deployment, job: str) -> int:
    """Start a job and return the run's id.

    Raises:
        ComplaintsError: there is no such job, or the user may not run it.
    """
    job_id = deployment.job(job)
    with asking(f"run the job {job}"):
        return int(deployment.client.jobs.run_now(job_id).run_id)


def wait(deployment: Deployment, run_id: int, on_state: Callable[[str], None]) -> Ended:
    """Wait until a run has ended; `on_state` gets its state every few seconds."""
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
    """Yield each task of a job's latest run with its output and its error.

    Raises:
        ComplaintsError: the job never ran, or the user may not read its output.
    """
    last = deployment.last_run(job)
    if last is None:
        msg = f"The job {job} never ran: run it with `complaints databricks run {job}`."
        raise ComplaintsError(msg)
    with asking(f"show the run {last.run_id}"):
        tasks = deployment.client.jobs.get_run(int(last.run_id or 0)).tasks or []
    for task in tasks:
        with asking(f"show the output of {task.task_key}"):
            output = deployment.client.jobs.get_run_output(int(task.run_id or 0))
        parts = [output.logs, output.error, output.error_trace]
        yield f"{task.task_key} {described(task)}", "\n".join(part for part in parts if part)
