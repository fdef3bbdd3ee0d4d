"""`complaints sql`: one SQL statement over the lake's tables."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import click

from complaints import Invocation, json_option, print_grid, print_json

MAX_ROWS = 100


@click.command()
@click.argument("statement")
@json_option
@click.pass_obj
def sql(invocation: Invocation, statement: str, as_json: bool) -> None:  # noqa: FBT001
    """Run a read-only SQL query on the lake's tables.

    The statement is in DuckDB's SQL dialect and may read bronze, silver and gold. Timestamps have the time zone UTC.
    Prints at most 100 rows; --json prints all. Works while a stream runs.

    \b
    Example:
        complaints sql "SELECT team, count(*) FROM gold.decisions GROUP BY ALL"
    """
    from lakehouse.sql.query import query
    from streaming.tables import TABLES

    settings = invocation.settings()
    result = query(settings, TABLES, statement, seconds=settings.sql.seconds)
    if as_json:
        print_json({"columns": result.columns, "rows": result.rows})
        return
    print_grid(result.columns, result.rows[:MAX_ROWS])
    if len(result.rows) > MAX_ROWS:
        click.echo(f"… and {len(result.rows) - MAX_ROWS:,} more rows; --json prints all.")
