"""`complaints quarantine list` and `replay`: show the quarantined rows with their reasons, and replay fixed ones."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal
from complaints.cells import printable

SHOWN_ROWS = 20
SHOWN_CHARACTERS = 60
REFUSED_ROWS = 20

reason_option = click.option("--reason", metavar="REASON", help="Only rows with this reason, such as not_json.")


@click.group()
def quarantine() -> None:
    """List quarantined rows and replay fixed ones.

    A row that cannot be used is quarantined with every rule that it broke. Fix the row or the rule, then replay it.

    \b
    Example:
        complaints quarantine list --reason not_json
        complaints quarantine replay
    """


@quarantine.command(name="list")
@reason_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="ROWS",
    show_default=f"{SHOWN_ROWS}; with --export, all",
    help="Maximum number of rows.",
)
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the rows with their full payloads to FILE as JSON Lines, to fix and replay.",
)
@json_option
@click.pass_obj
def list_(
    invocation: Invocation,
    reason: str | None,
    limit: int | None,
    target: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """List the quarantined rows, newest first.

    Also shows the number of rows per reason. Works while a stream runs.

    \b
    Example:
        complaints quarantine list --reason not_json
        complaints quarantine list --export refused.jsonl
    """
    from stewardship.quarantine import export, waiting

    found = waiting(invocation.settings(), reason, limit or (None if target else SHOWN_ROWS))
    if target is not None:
        export(found.rows, target)
        terminal().print(f"{len(found.rows):,} rows written to {target}", markup=False, soft_wrap=True)
    if as_json:
        print_json({"waiting": found.total, "reasons": found.reasons, "rows": found.rows})
    elif target is None:
        _print_rows(found.rows)
        for name, count in found.reasons.items():
            click.echo(f"{count:>8,}  {name}")
        click.echo(f"{found.total:>8,}  rows in total")


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    cells = ((row["record_id"], ", ".join(row["reasons"]), _origin(row), _excerpt(row["payload"])) for row in rows)
    print_grid(("record_id", "reasons", "from", "payload"), cells)


def _excerpt(payload: str | None) -> str:
    return "(not text)" if payload is None else " ".join(payload[: 2 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS]


def _origin(row: Mapping[str, Any]) -> str:
    if row["topic"] is not None:
        return f"{row['topic']}/{row['partition']}/{row['offset']}"
    return f"{row['file']}:{row['line']}" if row["file"] is not None else str(row["source"])


@quarantine.command()
@reason_option
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Fixed rows as JSON Lines with record_id and payload, as `list --export` writes them.",
)
@json_option
@click.pass_obj
def replay(invocation: Invocation, reason: str | None, source: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Replay quarantined rows that pass the current rules.

    Each row is replayed only once. Without --from, rows are checked as they were received: fix a rule in
    conf/expectations.yaml, then replay. With --from, the fixed rows in FILE are checked instead. --reason and --from
    exclude each other.

    \b
    Example:
        complaints quarantine replay --reason date_received_before_2011
        complaints quarantine replay --from fixed.jsonl
    """
    from stewardship.quarantine import read_replacements, waiting
    from stewardship.replay import NOTHING
    from stewardship.replay import replay as replay_rows

    if reason is not None and source is not None:
        msg = "--reason and --from exclude each other: FILE already selects the rows."
        raise click.UsageError(msg)
    settings = invocation.settings()
    found = waiting(settings, reason, 1)  # refuses an unknown reason or an empty lake before Spark starts
    fixed = None if source is None else read_replacements(source)
    if found.rows if fixed is None else fixed:
        with terminal().status("starting Spark") as status:
            result = replay_rows(settings, reason=reason, replacements=fixed, on_progress=status.update).as_json()
    else:
        result = NOTHING.as_json()
    if as_json:
        print_json(result)
        return
    for row in result["refused"][:REFUSED_ROWS]:
        click.echo(f"{printable(row['record_id'])}: {', '.join(row['reasons'])}")
    if result["still_refused"] > REFUSED_ROWS:
        click.echo(f"… and {result['still_refused'] - REFUSED_ROWS:,} more; --json lists the first thousand.")
    click.echo("   ".join(f"{name} {result[name]:,}" for name in ("replayed", "silver", "duplicates", "still_refused")))
    if result["sent_before"]:
        click.echo(f"{result['sent_before']:,} of the rows in {source} were replayed before")
