"""`complaints tables`: show, create and maintain the lake's tables, as the table catalog declares them."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

from dataclasses import asdict, astuple
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal

if TYPE_CHECKING:
    from lakehouse.settings import Settings
    from lakehouse.tables.declaration import Table


@click.group()
def tables() -> None:
    """Show, create and maintain the lake's tables.

    \b
    Example:
        complaints tables list
    """


@tables.command("list")
@json_option
@click.pass_obj
def list_(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """List the tables with their rows and what each is for.

    A table without a number of rows has not been created yet. Works while a stream runs.

    \b
    Example:
        complaints tables list
    """
    print_tables(invocation.settings(), as_json=as_json)


def print_tables(settings: "Settings", *, as_json: bool) -> None:
    """Print each table of a local lake with its number of rows and columns, and its comment."""
    from lakehouse.sql.query import row_counts
    from streaming.tables import TABLES

    rows = row_counts(settings, TABLES)
    if as_json:
        listed = [{"table": t.name, "rows": rows[t], "columns": t.column_names, "comment": t.comment} for t in TABLES]
        print_json({"tables": listed})
        return
    print_grid(
        ("table", "rows", "columns", "comment"),
        [(t.name, None if rows[t] is None else f"{rows[t]:,}", len(t.columns), t.comment) for t in TABLES],
    )


@tables.command("describe")
@click.argument("name")
@json_option
def describe(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Describe a table: columns, constraints and properties.

    NAME is a table's name, such as gold.decisions. Shows each column with its type and meaning.

    \b
    Example:
        complaints tables describe gold.decisions
    """
    table = _table(name)
    if as_json:
        parts = {name: getattr(table, name) for name in ("name", "grain", "comment", "constraints", "cluster_by")}
        columns = [asdict(column) for column in table.columns]
        print_json({**parts, "properties": table.properties, "columns": columns})
        return
    click.echo(f"{table.name}: {table.comment} One row: {table.grain}.\n")
    print_grid(
        ("column", "type", "null", "comment"),
        [(c.name, c.type, "yes" if c.nullable else "no", c.comment) for c in table.columns],
    )
    more = {f"constraint {key}": value for key, value in table.constraints.items()}
    more |= {"clustered by": ", ".join(table.cluster_by)} if table.cluster_by else {}
    more |= {f"view {view.name}": view.comment for view in table.views}
    more |= {f"property {key}": value for key, value in table.properties.items()}
    if more:
        click.echo("")
    for key, value in more.items():
        click.echo(f"{key}: {value.replace(',', ', ') if key.endswith('Columns') else value}")


def _table(name: str) -> "Table":
    from lakehouse.errors import ComplaintsError
    from streaming.tables import TABLES

    by_name = {table.name: table for table in TABLES}
    if name not in by_name:
        near = [known for known in by_name if known.endswith(f".{name}")] or list(by_name)
        msg = f"There is no table {name}: name one of {', '.join(near)}."
        raise ComplaintsError(msg)
    return by_name[name]


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
