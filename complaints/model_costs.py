"""`complaints models ablate`: what parts of the model add to its AUC, and what they cost."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal, three_decimals
from lakehouse.setup.jar_sets import OPTIONAL
from lakehouse.setup.jars import ensure_optional_jars

if TYPE_CHECKING:
    from ml.training.ablation import Variant

ABLATED = (*(jar_set.name for jar_set in OPTIONAL), "selection")


@click.command()
@click.option(
    "--of",
    "parts",
    type=click.Choice(ABLATED),
    multiple=True,
    default=ABLATED,
    show_default=True,
    help="Part of the model to measure; can be repeated.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    metavar="ROWS",
    help="Number of complaints to score for the speed.",
)
@json_option
@click.pass_obj
def ablate(invocation: Invocation, /, parts: tuple[str, ...], rows: int, as_json: bool) -> None:  # noqa: FBT001
    """Measure what parts of the model gain and cost.

    Measures how the optional features and the feature selection change the AUC and the complaints scored per second.
    Each variant is fitted on the lake's complaints and tested on the same later ones; none is registered. Files that an
    optional feature needs are downloaded if they are missing.

    \b
    Example:
        complaints models ablate
        complaints models ablate --of selection
    """
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from ml.training.ablation import ablated

    settings = invocation.settings()
    if settings.platform.starts_spark:
        ensure_optional_jars(parts)
    with terminal().status("starting Spark") as status:
        found = ablated(Lake(start_session(settings), settings), parts, rows, status.update)
    if as_json:
        print_json({"variants": [asdict(one) for one in found]})
    else:
        _print_variants(found)


def _print_variants(found: "list[Variant]") -> None:
    columns = ("variant", "features", "AUC-ROC", "change, 95 %", "with narrative", "fit, s", "complaints per second")
    print_grid(
        columns,
        [
            (
                one.name,
                f"{one.features:,}",
                three_decimals(one.auc_roc),
                f"{one.gain[0]:+.3f} to {one.gain[1]:+.3f}" if one.gain else "",
                three_decimals(one.narratives_auc_roc),
                f"{one.fit_s:,.0f}",
                f"{one.rows_per_second:,.0f}",
            )
            for one in found
        ],
    )
