"""`complaints verify`: verify that no record was lost or duplicated."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal

if TYPE_CHECKING:
    from stewardship.verification.verify import Checked, Verified

WIDTH = 80
INDENTED: dict[str, Any] = {
    **dict.fromkeys(("initial_indent", "subsequent_indent"), "    "),
    **dict.fromkeys(("break_long_words", "break_on_hyphens"), False),  # ids are not broken
}


@click.command()
@json_option
@click.pass_obj
def verify(invocation: Invocation, /, as_json: bool) -> None:  # noqa: FBT001
    """Verify that no record is lost or duplicated.

    Checks invariants on the tables' files and on Kafka, and changes nothing. Works while a stream runs: rows that its
    queries have not finished are counted as under way. Exits with 1 when an invariant is broken.

    \b
    Example:
        complaints verify
        complaints verify --json
    """
    from stewardship.verification.verify import verify as verify_lake

    with terminal().status("verifying") as status:
        found = verify_lake(invocation.settings(), status.update)
    if as_json:
        print_json(found.as_json())
    else:
        print_verified(found)
    if not found.holds:
        sys.exit(1)


def print_verified(found: "Verified") -> None:
    """Print the result of a verification as text."""
    rows = ((one.says, one.counted, _broken(one), one.under_way) for one in found.invariants)
    print_grid(("invariant", "counted", "broken", "under way"), rows, numbers=True)
    for one in found.invariants:
        if remarks := list(_remarks(one)):
            click.echo(f"\n{one.says}:")
            for remark in remarks:
                click.echo(textwrap.fill(remark, WIDTH, **INDENTED))
    broken = sum(not one.holds for one in found.invariants)
    unchecked = sum(one.counted is None for one in found.invariants)
    parts = [f"{broken} of {len(found.invariants)} invariants are BROKEN" if broken else "0 lost, 0 twice"]
    parts += [f"{unchecked} invariants not checked"] if unchecked else []
    click.echo(f"\n{'; '.join(parts)}; {found.seconds:.0f} s")


def _broken(checked: "Checked") -> int | None:
    return None if checked.counted is None else sum(checked.broken.values())


def _remarks(checked: "Checked") -> Iterator[str]:
    for verdict, count in checked.broken.items():
        ids = checked.examples[verdict]
        yield f"BROKEN: {count:,} {verdict}: {', '.join(ids)}{', …' if count > len(ids) else ''}"
    for reason, count in checked.apart.items():
        if reason != "under way":
            yield f"{count:,} {reason}"
    if checked.note:
        yield checked.note
