"""`complaints models`: the versions of the model in the registry, and which of them is the champion."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal
from complaints.model_costs import ablate
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from ml.evaluation.promotion import Comparison


@click.group()
def models() -> None:
    """Manage the model's versions in the registry.

    A version is named by its number or by an alias: champion or challenger.

    \b
    Example:
        complaints models list
    """


models.add_command(ablate)


@models.command("list")
@json_option
@click.pass_obj
def list_models(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """List all versions with their aliases and metrics.

    The metrics are those of the version's training.

    \b
    Example:
        complaints models list
    """
    from ml.registry.registry import Registry

    found = Registry(invocation.settings()).versions()
    if as_json:
        print_json({"versions": [{**asdict(one), "card": None} for one in found]})
        return
    metrics = ("auc_roc", "auc_pr", "log_loss", "ece", "rows")
    print_grid(
        ("version", "aliases", "created", *metrics),
        [
            (
                one.number,
                ", ".join(one.aliases),
                f"{one.made_at:%Y-%m-%d %H:%M}",
                *(f"{one.metrics[name]:.4g}" if name in one.metrics else None for name in metrics),
            )
            for one in found
        ],
    )


@models.command()
@click.argument("version")
@json_option
@click.pass_obj
def show(invocation: Invocation, version: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a version's model card and check its files.

    The card describes the training data and its period, the metrics, the limits and the intended use. Exits with 1 when
    the version's files are missing or damaged, and says what is wrong.

    \b
    Example:
        complaints models show champion
    """
    from ml.registry.registry import Registry

    registry = Registry(invocation.settings())
    found = registry.version(version)
    if as_json:
        print_json({**asdict(found), "parameters": registry.parameters(found.number)})
    else:
        click.echo(found.card)
    registry.check(found.number)  # the card is still worth reading when the version can't be loaded


@models.command()
@click.argument("first")
@click.argument("second")
@json_option
@click.pass_obj
def compare(invocation: Invocation, first: str, second: str, as_json: bool) -> None:  # noqa: FBT001
    """Compare two versions on the same complaints.

    Neither version was trained on these complaints.

    \b
    Example:
        complaints models compare champion challenger
    """
    from ml.evaluation.promotion import compared
    from ml.registry.registry import Registry

    settings = invocation.settings()
    registry = Registry(settings)
    numbers = [registry.version(version).number for version in (first, second)]
    if len(set(numbers)) == 1:
        msg = f"{first} and {second} are both version {numbers[0]}: name two versions."
        raise ComplaintsError(msg)
    for number in numbers:
        registry.check(number)
    with terminal().status("comparing"):
        result = compared(_lake(settings), registry, *numbers)
    if as_json:
        print_json(result.as_json())
    else:
        _print_comparison(result)


@models.command()
@click.argument("version")
@json_option
@click.pass_obj
def promote(invocation: Invocation, version: str, as_json: bool) -> None:  # noqa: FBT001
    """Make a version the champion.

    Refused when the version is worse than the champion on the same complaints. A running stream switches to the new
    champion between two batches.

    \b
    Example:
        complaints models promote challenger
    """
    from ml.evaluation.promotion import promote as promote_version
    from ml.registry.registry import Registry

    settings = invocation.settings()
    registry = Registry(settings)
    number = registry.version(version).number
    registry.check(number)
    with terminal().status("comparing with the champion"):
        result = promote_version(_lake(settings), registry, number)
    if as_json:
        print_json({"champion": number, "comparison": result.as_json() if result else None})
        return
    if result:
        _print_comparison(result)
    click.echo(f"version {number} is the champion")


@models.command()
@json_option
@click.pass_obj
def rollback(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Make the previous champion the champion again.

    Makes no comparison. A running stream switches to it between two batches.

    \b
    Example:
        complaints models rollback
    """
    from ml.registry.registry import Registry

    previous, current = Registry(invocation.settings()).rollback()
    if as_json:
        print_json({"champion": current, "left": previous})
    else:
        click.echo(f"version {current} is the champion again, instead of {previous}")


@models.command()
@json_option
@click.pass_obj
def quality(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Update and show the model's weekly quality and drift.

    Compares decisions with the outcomes that have arrived, measures drift since training, and updates
    gold.model_quality. A running stream does this by itself; while it writes to the lake, this command shows the
    latest assessment. Warns when the champion's latest week of 1,000 complaints or more that arrived after its
    training looks unlike training, or the probabilities are off.

    \b
    Example:
        complaints models quality
    """
    from streaming.batch.quality_assessment import assessment

    with terminal().status("assessing"):
        found = assessment(invocation.settings())
    rows = found.rows
    if not found.is_current:
        last = max((row["assessed_at"] for row in rows), default=None)
        when = f"as of {last:%Y-%m-%d %H:%M} UTC" if last else "nothing has been assessed yet"
        terminal().print(f"Another process is writing to the lake: {when}.", soft_wrap=True)
    if as_json:
        print_json(
            {
                "rows": rows,
                "alerts": [asdict(alert) for alert in found.alerts],
                "current": found.is_current,
                "notes": found.notes,
            }
        )
        return
    shown = ("model_version", "week", "measure", "feature", "rows", "value")
    print_grid(shown, [tuple(f"{v:.3f}" if isinstance(v := row[name], float) else v for name in shown) for row in rows])
    for sentence in found.notes:
        click.echo(f"note: {sentence}")
    for alert in found.alerts:
        terminal().print(str(alert), soft_wrap=True)


@models.command()
@json_option
@click.pass_obj
def shadow(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Compare the challenger with the champion on live data.

    With the setting streaming.shadow, the challenger scores live complaints alongside the champion and decides nothing.
    Shows how far the two agree.

    \b
    Example:
        complaints models shadow
    """
    from monitoring.shadow import agreements

    with terminal().status("comparing"):
        found = agreements(_lake(invocation.settings()))
    if as_json:
        print_json({"pairs": [asdict(one) for one in found]})
        return
    print_grid(
        ("champion", "challenger", "complaints", "mean difference", "mean absolute", "other decision", "until"),
        [
            (
                one.champion,
                one.challenger,
                f"{one.rows:,}",
                f"{one.mean_difference:+.4f}",
                f"{one.mean_absolute_difference:.4f}",
                f"{one.differing:.2%}",
                f"{one.until:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
    )


@models.command()
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="ROWS",
    help="Number of complaints to score.",
)
@json_option
@click.pass_obj
def speed(invocation: Invocation, rows: int, as_json: bool) -> None:  # noqa: FBT001
    """Measure the champion's scoring speed by stage.

    In complaints per second, on complaints with a narrative.

    \b
    Example:
        complaints models speed
    """
    from ml.evaluation.speed import stage_speeds
    from ml.registry.registry import Registry
    from silver.tables import COMPLAINTS

    settings = invocation.settings()
    registry = Registry(settings)
    registry.check(registry.champion_version())
    with terminal().status("timing"):
        complaints = _lake(settings).read(COMPLAINTS).where("has_narrative").limit(rows)
        found = stage_speeds(registry.champion(), complaints)
    if as_json:
        print_json({"stages": [asdict(one) for one in found]})
        return
    columns = ("stage", "complaints per second up to it", "added ms per 1,000")
    print_grid(
        columns,
        [(s.stage, f"{s.rows_per_second:,.0f}", f"{s.added_ms_per_thousand:.0f}") for s in found],
        numbers=False,
    )


def _lake(settings: Settings) -> Any:  # noqa: ANN401 - imported late
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake

    return Lake(start_session(settings), settings)


def _print_comparison(comparison: "Comparison") -> None:
    print_grid(
        ("version", "AUC-ROC", "95 % interval", "log loss", "ECE"),
        [
            (
                side.version,
                f"{side.auc_roc:.3f}",
                f"{side.interval[0]:.3f} to {side.interval[1]:.3f}" if side.interval else None,
                f"{side.log_loss:.3f}",
                f"{side.ece:.3f}",
            )
            for side in (comparison.champion, comparison.challenger)
        ],
    )
    for sentence in comparison.notes:
        click.echo(f"note: {sentence}")
    if comparison.difference:
        low, high = comparison.difference
        click.echo(
            f"on the same {comparison.rows:,} complaints; AUC-ROC of the second minus the first: "
            f"{low:+.3f} to {high:+.3f}"
        )
