"""`complaints quarantine list` and `replay`: what could not be used and why, and mended rows sent through again."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal

SHOWN_ROWS = 20
SHOWN_CHARACTERS = 60
REFUSED_ROWS = 20

reason_option = click.option("--reason", metavar="REASON", help="Only rows that broke this rule.")


@click.group()
def quarantine() -> None:
    """Rows that could not be used, with their reasons; and the way back for those that were mended.

    \b
    Example:
        complaints quarantine list --reason not_json
        complaints quarantine replay
    """


@quarantine.command(name="list")
@reason_option
@click.option("--limit", type=click.IntRange(min=1), help=f"Rows at most (default: {SHOWN_ROWS}; --export: all).")
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the rows with their whole payloads as JSON lines, to be mended and replayed.",
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
    """List the rows that wait, newest first, and how many there are for each reason; also while a stream runs.

    \b
    Example:
        complaints quarantine list --reason date_received_missing --export to-mend.jsonl
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
        click.echo(f"{found.total:>8,}  rows wait in all")


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    cells = ((row["record_id"], ", ".join(row["reasons"]), _place(row), _beginning(row["payload"])) for row in rows)
    print_grid(("record_id", "reasons", "from", "payload"), ([_printable(cell) for cell in row] for row in cells))


def _beginning(payload: str | None) -> str:
    return "(not text)" if payload is None else " ".join(payload[: 2 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS]


def _place(row: Mapping[str, Any]) -> str:
    if row["topic"] is not None:
        return f"{row['topic']}/{row['partition']}/{row['offset']}"
    return f"{row['file']}:{row['line']}" if row["file"] is not None else str(row["source"])


def _printable(text: str) -> str:
    """Text as a terminal may have it: a payload may hold anything, control sequences too."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


@quarantine.command()
@reason_option
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Mended rows as JSON lines with record_id and payload, as `list --export` writes them.",
)
@json_option
@click.pass_obj
def replay(invocation: Invocation, reason: str | None, source: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Judge waiting rows by today's rules, and send those through that now pass; each only once.

    Without FILE the rows are judged as they were received: mend a rule in conf/expectations.yaml, then replay.

    \b
    Example:
        complaints quarantine replay --reason date_before_2011
        complaints quarantine replay --from mended.jsonl
    """
    from stewardship.quarantine import read_mended, waiting
    from stewardship.replay import replay as replay_rows

    if reason is not None and source is not None:
        msg = "--reason and --from exclude each other: FILE says which rows are meant."
        raise click.UsageError(msg)
    settings = invocation.settings()
    waiting(settings, reason, 1)  # refuses an unknown reason or an empty lake before Spark starts
    mended = None if source is None else read_mended(source)
    with terminal().status("starting Spark") as status:
        result = replay_rows(settings, reason=reason, mended=mended, on_progress=status.update).as_json()
    if as_json:
        print_json(result)
        return
    for row in result["refused"][:REFUSED_ROWS]:
        click.echo(f"{_printable(row['record_id'])}: {', '.join(row['reasons'])}")
    if result["still_refused"] > REFUSED_ROWS:
        click.echo(f"… and {result['still_refused'] - REFUSED_ROWS:,} more; --json tells the first thousand.")
    click.echo("   ".join(f"{name} {result[name]:,}" for name in ("replayed", "silver", "duplicates", "still_refused")))
    if result["sent_before"]:
        click.echo(f"{result['sent_before']:,} of the rows in {source} had gone through before")
