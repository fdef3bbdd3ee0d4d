"""`complaints databricks`: the deployed lakehouse for people who live in the terminal."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from complaints import json_option, print_grid, print_json, terminal

if TYPE_CHECKING:
    from deployment.deployment import Deployment

target_option = click.option("--target", metavar="NAME", help="The bundle's target (default: its own default, dev).")
bundle_option = click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="The folder of databricks.yml (default: this one).",
)


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    return target_option(bundle_option(function))


@click.group()
def databricks() -> None:
    """The lakehouse in a Databricks workspace, signed in to by DATABRICKS_HOST, a profile, or the CLI's login.

    \b
    Example:
        complaints databricks status
    """


@databricks.command("status")
@_common
@json_option
@click.pass_context
def status(context: click.Context, /, target: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Check what a deploy needs before it wastes ten minutes, and show what is deployed and how it does.

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
@click.option("--no-wait", is_flag=True, help="Start it and return at once.")
@_common
def run(job: str, no_wait: bool, target: str | None, folder: Path) -> None:  # noqa: FBT001
    """Run a job of the deployment, and wait until it has ended.

    \b
    Example:
        complaints databricks run setup
    """
    from deployment.runs import start, wait

    deployment = _deployment(folder, target)
    started = start(deployment, job)
    click.echo(f"run {started}")
    if no_wait:
        return
    with terminal().status(job) as shown:
        ended = wait(deployment, started, shown.update)
    click.echo(f"{job} {ended.told}")
    if not ended.is_success:
        sys.exit(1)


@databricks.command("logs")
@click.argument("job")
@_common
def logs(job: str, target: str | None, folder: Path) -> None:
    """Print what each task of a job's latest run printed, and the error that ended it.

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
    """Upload a CFPB export to the landing volume, from where the job load takes it; checked here first.

    \b
    Example:
        complaints databricks upload complaints.csv.zip
    """
    from bronze.files import open_members
    from deployment.upload import upload as send
    from streaming.batch.load import KNOWN_KEYS

    open_members(path, KNOWN_KEYS)
    deployment = _deployment(folder, target)
    columns = (TextColumn(path.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=terminal(), transient=True) as progress:
        task = progress.add_task("", total=path.stat().st_size)
        place = send(deployment, path, lambda done: progress.update(task, completed=done))
    click.echo(f"{place} ({path.stat().st_size:,} bytes)")


@databricks.command("sample")
@click.option("--rows", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@_common
@json_option
def sample(rows: int, target: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show the latest decisions in gold, through the deployment's SQL warehouse.

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
