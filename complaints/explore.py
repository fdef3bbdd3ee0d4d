"""`complaints explore`: profile the complaints and their features."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal


@click.command()
@json_option
@click.pass_obj
def explore(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Profile the complaints and their features.

    Shows distributions, missing values, correlations, and which categories predict the outcome. The report with charts
    goes to <root>/reports/explore.

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
        rate = "" if found.base_rate is None else f", of which {found.base_rate:.1%} ended successfully"
        click.echo(f"{found.rows:,} complaints, {found.known:,} with a known outcome{rate}")
        print_grid(
            ("number", "missing", "mean", "deviation", "median", "maximum"),
            [
                (n.feature, f"{n.missing:.1%}", *(f"{v:.3g}" for v in (n.mean, n.deviation, n.quartiles[1], n.maximum)))
                for n in found.numbers
            ],
        )
        print_grid(
            ("category", "values", "missing", "p of chi-square", "Cramér's V", "selected"),
            [
                (
                    c.feature,
                    c.distinct,
                    f"{c.missing:.1%}",
                    None if c.p_value is None else f"{c.p_value:.2g}",
                    None if c.cramers_v is None else f"{c.cramers_v:.3f}",
                    "yes" if c.is_selected else "no",
                )
                for c in found.categories
            ],
        )
    terminal().print(f"Report: {path}", soft_wrap=True)
