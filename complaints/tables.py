"""`complaints tables`: create and maintain the lake's tables, as the table catalog declares them."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

from dataclasses import astuple

import click

from complaints import Invocation, print_grid, terminal


@click.group()
def tables() -> None:
    """Create and maintain the lake's tables.

    \b
    Example:
        complaints tables create
    """


@tables.command("create")
@click.pass_obj
def create(invocation: Invocation) -> None:
    """Create the tables that are missing.

    Creates them with their comments, constraints and clustering. A table that only lacks new columns gets them, empty;
    one that differs otherwise is an error. Every other command creates the tables that it needs: use this one on a new
    workspace to check that the privileges suffice.

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
    """Compact small files and remove files no longer needed.

    Also shortens the tables' logs by the commits that no query has to read any more. A local stream does this by
    itself.

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
