"""`complaints explore`: profile the complaints and their features."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal, three_decimals
from complaints.cells import short_number

if TYPE_CHECKING:
    from ml.evaluation.exploration import Exploration


@click.command()
@json_option
@click.pass_obj
def explore(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Profile the complaints and their features.

    Shows distributions, missing values, correlations, and which categories the outcome depends on. The report with
    charts goes to <root>/reports/explore.

    \b
    Example:
        complaints explore
    """
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from ml.evaluation.exploration import explored
    from ml.evaluation.exploration_page import written

    settings = invocation.settings()
    with terminal().status("exploring"):
        found, frame = explored(Lake(start_session(settings), settings))
        path = written(found, frame, settings.folder / "reports" / "explore")
    if as_json:
        print_json(found.as_json())
    else:
        print_exploration(found)
    terminal().print(f"Report: {path}", soft_wrap=True)


def print_exploration(found: "Exploration") -> None:
    """Print the profile of numbers and categories as text."""
    rate = "" if found.base_rate is None else f", of which {found.base_rate:.1%} ended successfully"
    click.echo(f"{found.rows:,} complaints, {found.known:,} with a known outcome{rate}")
    print_grid(
        ("number", "missing", "mean", "deviation", "median", "maximum", "correlation with outcome"),
        [
            (
                n.feature,
                f"{n.missing:.1%}",
                *(short_number(v) for v in (n.mean, n.deviation, n.quartiles[1], n.maximum)),
                f"{found.correlations[n.feature]['label']:+.3f}",
            )
            for n in found.numbers
        ],
    )
    for one, other, value in found.strong_correlations:
        click.echo(f"correlation of {one} and {other}: {value:+.3f}")
    click.echo("")
    print_grid(
        ("category", "values", "missing", "p of chi-square", "Cramér's V", "significant"),
        [
            (
                c.feature,
                f"{c.distinct:,}",
                f"{c.missing:.1%}",
                None if c.p_value is None else f"{c.p_value:.2g}",
                three_decimals(c.cramers_v),
                "yes" if c.is_significant else "no",
            )
            for c in found.categories
        ],
    )
    click.echo("significant: the outcome depends on the category; the model keeps all of them")
