"""`complaints trace` and `complaints erase`: trace one complaint through all layers, and erase it from them."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal


@click.command()
@click.argument("complaint_id", type=click.IntRange(min=1))
@json_option
@click.pass_obj
def trace(invocation: Invocation, /, complaint_id: int, as_json: bool) -> None:  # noqa: FBT001
    """Trace one complaint through all layers.

    Shows the time of each step: message, bronze, silver or quarantine, decision, published. Times are in UTC; the
    complaint's text is not shown. Works while a stream runs.

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
@click.option(
    "--complaint-id",
    type=click.IntRange(min=1),
    required=True,
    metavar="NUMBER",
    help="Number of the complaint to erase.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@click.pass_obj
def erase(invocation: Invocation, /, complaint_id: int, yes: bool, as_json: bool) -> None:  # noqa: FBT001
    """Erase one complaint from all layers.

    Also erases it from quarantine and from the tables' older versions, so that no older version can be read afterward.
    Asks for confirmation first. Stop the stream before; it continues afterward where it stopped. What was done is
    recorded in bronze.erasures.

    \b
    Example:
        complaints erase --complaint-id 6941684
    """
    from stewardship.erase import erase_complaint, to_erase

    settings = invocation.settings()
    records = to_erase(settings, complaint_id)
    if not yes:
        question = f"Permanently erase the complaint {complaint_id}, received in {len(records)} rows?"
        click.confirm(f"{question} Older versions of the tables can't be read afterward.", abort=True, err=True)
    with terminal().status("erasing") as status:
        done = erase_complaint(settings, complaint_id, status.update)
    if as_json:
        print_json(done.as_json())
        return
    print_grid(("table", "rows erased"), list(done.rows.items()), numbers=True)
    click.echo(f"{done.searched:,} files in {settings.folder} were searched: none holds its text or its number.")
    for sentence in done.left:
        click.echo(sentence)
