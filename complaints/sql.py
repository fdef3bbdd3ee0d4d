"""`complaints sql`: one SQL statement over the lake's tables."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import re
from collections.abc import Iterable, Sequence
from itertools import islice

import click

from complaints import Invocation, json_option, print_grid, print_records
from complaints.tables import print_tables
from lakehouse.json_values import as_json as to_json

MAX_ROWS = 100
# DuckDB would list the tables of its own schema, which has none.
SHOW_TABLES = re.compile(r"\s*show\s+tables\s*;?\s*", re.IGNORECASE)


@click.command()
@click.argument("statement")
@click.option("-x", "--expanded", is_flag=True, help="Print each row as a record, one line per column.")
@json_option
@click.pass_obj
def sql(invocation: Invocation, statement: str, expanded: bool, as_json: bool) -> None:  # noqa: FBT001
    """Run a read-only SQL query on the lake's tables.

    The statement is in DuckDB's SQL dialect and may read bronze, silver and gold; SHOW TABLES lists them. Timestamps
    have the time zone UTC. Prints at most 100 rows, as records when a row is wider than the terminal; --json prints
    all. Works while a stream runs.

    \b
    Example:
        complaints sql "SELECT team, count(*) FROM gold.decisions GROUP BY ALL"
    """
    from lakehouse.sql.query import running_query
    from streaming.tables import TABLES

    settings = invocation.settings()
    if SHOW_TABLES.fullmatch(statement):
        print_tables(settings, as_json=as_json)
        return
    with running_query(settings, TABLES, statement, seconds=settings.sql.seconds) as found:
        if as_json:
            _stream_json(found.columns, found.rows)
            return
        rows = list(islice(found.rows, MAX_ROWS + 1))
    if expanded:
        print_records(found.columns, rows[:MAX_ROWS])
    else:
        print_grid(found.columns, rows[:MAX_ROWS], folds=False)
    if len(rows) > MAX_ROWS:
        click.echo(f"… these are the first {MAX_ROWS} rows; --json prints all.")


def _stream_json(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one JSON object without holding its rows in memory."""
    click.echo(f'{{"columns": {to_json(columns)}, "rows": [', nl=False)
    for index, row in enumerate(rows):
        click.echo(f"{', ' if index else ''}{to_json(row)}", nl=False)
    click.echo("]}")
