"""`complaints databricks`: operate the deployed lakehouse from the terminal."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

from complaints import json_option, print_grid, print_json, terminal
from complaints.progress import progress as progress_of

if TYPE_CHECKING:
    from deployment.deployment import Deployment

target_option = click.option(
    "--target", metavar="NAME", show_default="the bundle's default, dev", help="Target of the bundle."
)
bundle_option = click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="FOLDER",
    show_default="the current folder",
    help="Folder that contains databricks.yml.",
)


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    return target_option(bundle_option(function))


@click.group()
def databricks() -> None:
    """Operate the lakehouse in a Databricks workspace.

    Signs in as the Databricks SDK does: with the variables DATABRICKS_HOST and DATABRICKS_TOKEN, a profile, or the
    login of the Databricks CLI.

    \b
    Example:
        complaints databricks status
    """


@databricks.command("status")
@_common
@json_option
@click.pass_context
def status(context: click.Context, /, target: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Check the target and show the state of the deployment.

    Checks what a deploy needs, so that it does not fail after ten minutes. Once something is deployed, also shows the
    state of its jobs, model and stream. Exits with 1 when a check fails.

    \b
    Example:
        complaints databricks status --target prod
    """
    from deployment.bundle import read_bundle
    from deployment.status import Status

    with terminal().status("asking the workspace"):
        findings = Status(read_bundle(folder, target)).findings()
    for finding in () if as_json else findings:
        click.echo(f"{finding.what:<10}{'ok' if finding.is_ok else 'problem':<9}{finding.detail}")
        if context.find_root().params["debug"] and finding.error is not None:
            traceback.print_exception(finding.error)
    is_ok = all(finding.is_ok for finding in findings)
    if as_json:
        print_json({"ok": is_ok, "checks": [{"what": f.what, "ok": f.is_ok, "detail": f.detail} for f in findings]})
    if not is_ok:
        sys.exit(1)


def _deployment(folder: Path, target: str | None) -> "Deployment":
    from deployment.bundle import read_bundle
    from deployment.status import Status

    return Status(read_bundle(folder, target)).deployment()


@databricks.command("run")
@click.argument("job")
@_common
def run(job: str, target: str | None, folder: Path) -> None:
    """Run a job of the deployment and wait for its end.

    Prints the run's id and how it ended. Exits with 1 when the job fails. Needs no Databricks CLI; with it, `databricks
    bundle run` has more options.

    \b
    Example:
        complaints databricks run setup
    """
    from deployment.runs import start, wait

    deployment = _deployment(folder, target)
    started = start(deployment, job)
    click.echo(f"run {started}")
    with terminal().status(job) as shown:
        ended = wait(deployment, started, shown.update)
    click.echo(f"{job} {ended.description}")
    if not ended.is_success:
        sys.exit(1)


@databricks.command("logs")
@click.argument("job")
@_common
def logs(job: str, target: str | None, folder: Path) -> None:
    """Print the output of a job's latest run.

    Prints what each task wrote, and the error that ended it.

    \b
    Example:
        complaints databricks logs load
    """
    from deployment.runs import printed

    for task, text in printed(_deployment(folder, target), job):
        click.echo(f"--- {task}\n{text}")


@databricks.command("upload")
@click.argument("path", type=click.Path(path_type=Path))
@_common
def upload(path: Path, target: str | None, folder: Path) -> None:
    """Upload a CFPB export file to the landing volume.

    The file is checked first. The job `load` then loads it from the volume.

    \b
    Example:
        complaints databricks upload complaints.csv.zip
    """
    from bronze.files import open_members
    from deployment.upload import upload as send
    from silver.fields import KNOWN_KEYS

    open_members(path, KNOWN_KEYS)
    deployment = _deployment(folder, target)
    columns = (TextColumn(path.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with progress_of(*columns) as progress:
        task = progress.add_task("", total=path.stat().st_size)
        target_path = send(deployment, path, lambda done: progress.update(task, completed=done))
    click.echo(f"{target_path} ({path.stat().st_size:,} bytes)")


@databricks.command("sample")
@click.option(
    "--rows",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="ROWS",
    help="Number of decisions to show.",
)
@_common
@json_option
def sample(rows: int, target: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show the latest decisions in gold.

    Queries the deployment's SQL warehouse.

    \b
    Example:
        complaints databricks sample --rows 50
    """
    from deployment.warehouse import sample as latest

    found = latest(_deployment(folder, target), rows)
    if as_json:
        print_json({"rows": [dict(zip(found.columns, row, strict=True)) for row in found.rows]})
    else:
        print_grid(found.columns, found.rows)
