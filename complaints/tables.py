"""`complaints tables`: the lake's tables, as the table catalogue declares them."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help comes at once

from dataclasses import astuple

import click

from complaints import Invocation, print_grid, terminal


@click.group()
def tables() -> None:
    """The lake's tables, as they are declared.

    \b
    Example:
        complaints tables create
    """


@tables.command("create")
@click.pass_obj
def create(invocation: Invocation) -> None:
    """Make the tables that are missing, with their comments, constraints and clustering; change none that is there.

    Every other command does so too when it needs them. On a new workspace this shows that the rights suffice.

    \b
    Example:
        complaints tables create
    """
    from lakehouse.tables.lake import open_lake, writer_lock
    from streaming.tables import TABLES

    settings = invocation.settings()
    with writer_lock(settings) as lock, terminal().status("starting Spark"):
        open_lake(lock, settings).create(TABLES)
    click.echo(f"{len(TABLES)} tables are as declared: {', '.join(table.name for table in TABLES)}")


@tables.command("maintain")
@click.pass_obj
def maintain(invocation: Invocation) -> None:
    """Compact small files and drop what no query has to read any more; a local stream does so by itself.

    \b
    Example:
        complaints tables maintain
    """
    from lakehouse.tables.lake import open_lake, writer_lock
    from streaming.service.upkeep import run_upkeep
    from streaming.tables import TABLES

    settings = invocation.settings()
    with writer_lock(settings) as lock, terminal().status("maintaining"):
        lake = open_lake(lock, settings)
        lake.create(TABLES)
        done = [run_upkeep(lake, table) for table in TABLES]
    print_grid(
        ("table", "files before", "after", "commits dropped", "files deleted"),
        [astuple(each) for each in done],
    )
