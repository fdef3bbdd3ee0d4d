"""`complaints tables`: the lake's tables, as the table catalogue declares them."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help comes at once

import click

from lakehouse.cli import Invocation, terminal


@click.group()
def tables() -> None:
    r"""The lake's tables, as they are declared.

    \b
    Example:
        complaints tables create
    """


@tables.command("create")
@click.pass_obj
def create(invocation: Invocation) -> None:
    r"""Make the tables that are missing, with their comments, constraints and clustering; change none that is there.

    Every other command does so too when it needs them. On a new workspace this shows that the rights suffice.

    \b
    Example:
        complaints tables create
    """
    from lakehouse.lake import Lake, writer
    from lakehouse.session import start_session
    from streaming.tables import TABLES

    settings = invocation.settings()
    with writer(settings), terminal().status("starting Spark"):
        Lake(start_session(settings), settings).create(TABLES)
    click.echo(f"{len(TABLES)} tables are as declared: {', '.join(table.name for table in TABLES)}")
