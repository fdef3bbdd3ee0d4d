"""`complaints trace` and `complaints erase`: one complaint's way through the layers, and its end in all of them."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal


@click.command()
@click.argument("complaint_id", type=click.IntRange(min=1))
@json_option
@click.pass_obj
def trace(invocation: Invocation, /, complaint_id: int, as_json: bool) -> None:  # noqa: FBT001
    """Show one complaint's way with times: message, bronze, silver or quarantine, decision, published.

    Works beside a running stream. Times are UTC; nothing of what the complaint says is shown.

    \b
    Example:
        complaints trace 6941684
    """
    from stewardship.trace import trace as trace_of

    found = trace_of(invocation.settings(), complaint_id)
    if as_json:
        print_json(found.as_json())
        return
    print_grid(("step", "at", "record_id", "what"), [(s.step, s.at, s.record_id, s.what) for s in found.steps])
    if found.note:
        click.echo(found.note)


@click.command()
@click.option("--complaint-id", type=click.IntRange(min=1), required=True, help="The complaint's number.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def erase(invocation: Invocation, /, complaint_id: int, yes: bool, as_json: bool) -> None:  # noqa: FBT001
    """Erase one complaint from all layers, from quarantine and from the tables' older versions; asks first.

    The stream must be stopped meanwhile, and goes on afterwards where it was. bronze.erasures notes what was done.

    \b
    Example:
        complaints erase --complaint-id 6941684
    """
    from stewardship.erase import erase_complaint, to_erase

    settings = invocation.settings()
    records = to_erase(settings, complaint_id)
    if not yes:
        told = f"Erase the complaint {complaint_id}, which came in {len(records)} rows, for good?"
        click.confirm(f"{told} No older version of the tables can be read then.", abort=True, err=True)
    with terminal().status("erasing") as status:
        done = erase_complaint(settings, complaint_id, status.update)
    if as_json:
        print_json(done.as_json())
        return
    print_grid(("table", "rows erased"), list(done.rows.items()), numbers=True)
    click.echo(f"{done.searched:,} files in {settings.folder} were searched: none holds its words or its number.")
    for sentence in done.left:
        click.echo(sentence)
