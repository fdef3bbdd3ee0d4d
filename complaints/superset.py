"""`complaints superset`: install, configure and run Superset with the dashboards over gold."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_json, terminal
from lakehouse.errors import ComplaintsError

if TYPE_CHECKING:
    from dashboards.service import Superset


def superset_of(invocation: Invocation) -> "Superset":
    """Return Superset over the lake of this invocation."""
    from dashboards.service import Superset
    from streaming.tables import TABLES

    settings = invocation.settings(uses_tables=False)
    if settings.superset.warehouse is None and not settings.platform.tables_are_files:
        msg = (
            f"The environment {settings.environment} has its tables in a Databricks workspace: set "
            "COMPLAINTS_SUPERSET__WAREHOUSE to the address of a SQL warehouse, or use --environment local."
        )
        raise ComplaintsError(msg)
    return Superset(settings, TABLES, terminal().print)


@click.group()
def superset() -> None:
    """Run dashboards over gold in Apache Superset.

    The dashboards, datasets and roles are defined by the files in dashboards/.

    \b
    Example:
        complaints superset start
    """


@superset.command()
@click.pass_obj
def install(invocation: Invocation) -> None:
    """Install Superset into its own environment.

    The environment is .superset, installed from Superset's own lock file.

    \b
    Example:
        complaints superset install
    """
    superset_of(invocation).environment.make()


@superset.command()
@json_option
@click.pass_obj
def configure(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Configure Superset from the files in dashboards/.

    Updates Superset's metadata, roles, accounts and dashboards. The passwords of new accounts are shown once.

    \b
    Example:
        complaints superset configure
    """
    passwords = superset_of(invocation).configure()
    if as_json:
        print_json({"passwords": passwords})
        return
    show_passwords(passwords)
    click.echo("Configured.")


@superset.command()
@json_option
@click.pass_obj
def start(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Start Superset in the background.

    Installs and configures it first where that has not been done.

    \b
    Example:
        complaints superset start
    """
    server = superset_of(invocation)
    passwords = server.start()
    if as_json:
        print_json({"url": server.url, "passwords": passwords})
        return
    show_passwords(passwords)
    click.echo(f"Superset answers at {server.url}; `complaints superset stop` ends it.")


@superset.command()
@click.pass_obj
def stop(invocation: Invocation) -> None:
    """Stop Superset.

    Does nothing when Superset is not running.

    \b
    Example:
        complaints superset stop
    """
    click.echo("Stopped." if superset_of(invocation).stop() else "Superset was not running.")


@superset.command()
@json_option
@click.pass_obj
def status(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show whether Superset is installed, configured and up.

    Configured means that it matches the files in dashboards/. Exits with 1 when Superset does not answer.

    \b
    Example:
        complaints superset status
    """
    found = superset_of(invocation).status()
    if as_json:
        print_json(asdict(found))
    else:
        click.echo("installed: " + _yes_or(found.installed, "no, or incomplete; `complaints superset start` fixes it"))
        click.echo(
            "configured: "
            + _yes_or(found.configured, "no, or not as the files say; `complaints superset start` does it")
        )
        click.echo("running: " + _yes_or(found.running, "no; `complaints superset start` starts it"))
        if found.running:
            click.echo("answering: " + _yes_or(found.healthy, f"no: see {found.log}, or start it again"))
    if not found.healthy:
        sys.exit(1)


@superset.command()
@click.argument("account", type=click.Choice(["admin", "operator", "analyst"]))
@click.option("--ask", is_flag=True, help="Prompt for the password instead of generating one.")
@json_option
@click.pass_obj
def password(invocation: Invocation, account: str, ask: bool, as_json: bool) -> None:  # noqa: FBT001
    """Set a new password for an account.

    The password is random and shown once, or with --ask, typed at a prompt.

    \b
    Example:
        complaints superset password analyst
    """
    new = click.prompt("New password", hide_input=True, confirmation_prompt=True) if ask else secrets.token_urlsafe(12)
    superset_of(invocation).set_password(account, new)
    if as_json:
        print_json({"passwords": {} if ask else {account: new}})
    elif not ask:
        show_passwords({account: new})


@superset.command()
@click.pass_obj
def export(invocation: Invocation) -> None:
    """Export changes made in the browser to files.

    Writes the charts, datasets and dashboards that were changed in Superset back to dashboards/assets.

    \b
    Example:
        complaints superset export
    """
    changed = superset_of(invocation).export()
    for path in changed:
        click.echo(path)
    click.echo(f"{len(changed)} files changed.")


@superset.command()
@click.argument("dashboard")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--account",
    default="analyst",
    show_default=True,
    metavar="NAME",
    help="Account whose view of the dashboard is shown.",
)
@click.pass_obj
def snapshot(invocation: Invocation, dashboard: str, file: Path, account: str) -> None:
    """Save a dashboard as a PNG or PDF file.

    FILE ends in .png or .pdf. Needs Chromium and its driver. The account's password is read from SUPERSET_PASSWORD or
    typed at a prompt: on the command line, other users of the machine could read it.

    \b
    Example:
        complaints superset snapshot complaint-overview overview.pdf
    """
    if file.suffix not in {".png", ".pdf"}:
        msg = f"{file} should end in .png or .pdf."
        raise click.BadParameter(msg)
    server = superset_of(invocation)
    secret = os.environ.get("SUPERSET_PASSWORD") or click.prompt(f"Password of {account}", hide_input=True)
    seconds = server.snapshot(dashboard, file, account, secret)
    click.echo(f"{file} shows {server.url}/superset/dashboard/{dashboard}/, which opened in {seconds:.1f} s.")


@superset.command(hidden=True)
def reference() -> None:
    """Regenerate the dashboards' reference and chart SQL.

    Generated from the files in dashboards/; `make docs` calls it.

    \b
    Example:
        complaints superset reference
    """
    from dashboards.queries import write
    from dashboards.reference import pages
    from streaming.tables import TABLES

    write()
    for path, text in pages(TABLES).items():
        path.write_text(text, encoding="utf-8")


def _yes_or(is_true: bool, otherwise: str) -> str:  # noqa: FBT001
    return "yes" if is_true else otherwise


def show_passwords(passwords: Mapping[str, str]) -> None:
    """Print the passwords of new accounts; they are stored nowhere else."""
    if passwords:
        click.echo("Accounts; these passwords are shown only now (`complaints superset password` sets a new one):")
    for name, secret in passwords.items():
        click.echo(f"    {name:<10} {secret}")
