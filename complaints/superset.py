"""`complaints superset`: dashboards over gold, from installing Superset to opening it."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_json, terminal

if TYPE_CHECKING:
    from dashboards.service import Superset


def _superset(invocation: Invocation) -> "Superset":
    from dashboards.service import Superset
    from streaming.tables import TABLES

    return Superset(invocation.settings(), TABLES, terminal().print)


@click.group()
def superset() -> None:
    """Dashboards over gold in Apache Superset, from the files in dashboards/.

    \b
    Example:
        complaints superset start
    """


@superset.command()
@click.pass_obj
def install(invocation: Invocation) -> None:
    """Install Superset into an environment of its own, .superset, from its own lock.

    \b
    Example:
        complaints superset install
    """
    _superset(invocation).environment.make()


@superset.command()
@json_option
@click.pass_obj
def configure(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Bring Superset's metadata, roles, accounts and dashboards to what the files say; passwords are shown once.

    \b
    Example:
        complaints superset configure
    """
    passwords = _superset(invocation).configure()
    if as_json:
        print_json({"passwords": passwords})
        return
    _show_passwords(passwords)
    click.echo("Configured.")


@superset.command()
@json_option
@click.pass_obj
def start(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Start Superset in the background, installing and configuring first what is not there yet.

    \b
    Example:
        complaints superset start
    """
    server = _superset(invocation)
    passwords = server.start()
    if as_json:
        print_json({"url": server.url, "passwords": passwords})
        return
    _show_passwords(passwords)
    click.echo(f"Superset answers at {server.url}; `complaints superset stop` ends it.")


@superset.command()
@click.pass_obj
def stop(invocation: Invocation) -> None:
    """Stop Superset.

    \b
    Example:
        complaints superset stop
    """
    click.echo("Stopped." if _superset(invocation).stop() else "Superset was not running.")


@superset.command()
@json_option
@click.pass_obj
def status(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Say whether Superset is installed, configured as the files say, and answering; exits with 1 when it isn't.

    \b
    Example:
        complaints superset status
    """
    found = _superset(invocation).status()
    if as_json:
        print_json(asdict(found))
    else:
        click.echo("installed: " + _said(found.installed, "not, or only half; `complaints superset start` mends it"))
        click.echo(
            "configured: " + _said(found.configured, "not as the files say; `complaints superset start` does it")
        )
        click.echo("running: " + _said(found.running, "no; `complaints superset start` starts it"))
        if found.running:
            click.echo("answering: " + _said(found.healthy, f"no: see {found.log}, or start it again"))
    if not found.healthy:
        sys.exit(1)


@superset.command()
@click.argument("account", type=click.Choice(["admin", "operator", "analyst"]))
@click.option("--ask", is_flag=True, help="Ask for the password instead of making one.")
@json_option
@click.pass_obj
def password(invocation: Invocation, account: str, ask: bool, as_json: bool) -> None:  # noqa: FBT001
    """Give an account a new password: a random one, shown once, or one that is asked for.

    \b
    Example:
        complaints superset password analyst
    """
    new = click.prompt("New password", hide_input=True, confirmation_prompt=True) if ask else secrets.token_urlsafe(12)
    _superset(invocation).set_password(account, new)
    if as_json:
        print_json({"passwords": {} if ask else {account: new}})
    elif not ask:
        _show_passwords({account: new})


@superset.command()
@click.pass_obj
def export(invocation: Invocation) -> None:
    """Write what was changed in the browser back to the files in dashboards/assets.

    \b
    Example:
        complaints superset export
    """
    changed = _superset(invocation).export()
    for path in changed:
        click.echo(path)
    click.echo(f"{len(changed)} files changed.")


@superset.command()
@click.argument("dashboard")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--account", default="analyst", show_default=True, help="Whose view it is.")
@click.pass_obj
def snapshot(invocation: Invocation, dashboard: str, file: Path, account: str) -> None:
    """Write a dashboard as a picture (.png) or a document (.pdf); needs Chromium and its driver.

    The account's password is read from SUPERSET_PASSWORD, or asked for: on a command line everybody could see it.

    \b
    Example:
        complaints superset snapshot complaint-overview overview.pdf
    """
    if file.suffix not in {".png", ".pdf"}:
        msg = f"{file} should end in .png or .pdf."
        raise click.BadParameter(msg)
    server = _superset(invocation)
    secret = os.environ.get("SUPERSET_PASSWORD") or click.prompt(f"Password of {account}", hide_input=True)
    seconds = server.snapshot(dashboard, file, account, secret)
    click.echo(f"{file} shows {server.url}/superset/dashboard/{dashboard}/, which opened in {seconds:.1f} s.")


@superset.command(hidden=True)
def reference() -> None:
    """Write the dashboards' reference and the SQL behind the charts anew from the files; `make docs` calls it.

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


def _said(is_so: bool, otherwise: str) -> str:  # noqa: FBT001
    return "yes" if is_so else otherwise


def _show_passwords(passwords: Mapping[str, str]) -> None:
    if passwords:
        click.echo("Accounts; these passwords are shown now and never again (`complaints superset password` sets new):")
    for name, secret in passwords.items():
        click.echo(f"    {name:<10} {secret}")
