"""`complaints train` and `score`: train the model on the lake's complaints, and score them with it."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click

from complaints import Invocation, json_option, print_json, terminal
from complaints.progress import progress_bar
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings


@click.command()
@click.option(
    "--as-challenger",
    is_flag=True,
    help="Register the new version as the challenger; `complaints models promote` can promote it later.",
)
@json_option
@click.pass_obj
def train(invocation: Invocation, as_challenger: bool, as_json: bool) -> None:  # noqa: FBT001
    """Train the model and register a new version.

    Trains on complaints with a known outcome and tests on the latest of them. The new version becomes the champion; if
    the champion is better on the same complaints, the new version becomes the challenger.

    \b
    Example:
        complaints train
        complaints train --as-challenger && complaints models promote challenger
    """
    result = train_with_status(invocation.settings(), as_challenger=as_challenger)
    if as_json:
        print_json(result)
    else:
        print_training(result)


def train_with_status(settings: Settings, *, as_challenger: bool = False) -> dict[str, Any]:
    """Train with a status line; returns the training's values and its duration as `seconds`."""
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from ml.registry.registry import Registry
    from ml.training.training import train as train_model

    began = time.monotonic()
    registry = Registry(settings)
    registry.refuse_locked()
    with terminal().status("starting Spark") as status:
        lake = Lake(start_session(settings), settings)
        training = train_model(lake, registry, status.update, as_challenger=as_challenger)
    return {**asdict(training), "seconds": round(time.monotonic() - began, 1)}


def print_training(result: dict[str, Any]) -> None:
    """Print the result of a training as text."""
    metrics = result["metrics"]
    click.echo(f"version {result['version']} is the {'champion' if result['is_champion'] else 'challenger'}")
    click.echo(
        f"fitted on {result['train_rows']:,} complaints, calibrated on {result['calibrate_rows']:,} later ones, "
        f"tested on {metrics['rows']:,} still later ones; excluded: {result['copies']:,} copies of later narratives "
        f"and {result['unknown']:,} complaints without a known outcome"
    )
    low, high = metrics["auc_roc_interval"]
    click.echo(
        f"AUC-ROC {metrics['auc_roc']:.3f} ({low:.3f} to {high:.3f})   AUC-PR {metrics['auc_pr']:.3f}   log loss "
        f"{metrics['log_loss']:.3f}   Brier {metrics['brier']:.3f}   calibration error {metrics['ece']:.3f}   success "
        f"rate {metrics['base_rate']:.1%}"
    )
    if sentiment := metrics["sentiment"]:
        click.echo(
            f"sentiment: AUC-ROC {sentiment['auc_roc'] or float('nan'):.3f} for strong words in {sentiment['rows']:,} "
            f"later narratives ({sentiment['negative']:.0%} have them), which are hidden from it"
        )
    for sentence in result["warnings"]:
        click.echo(f"note: {sentence}")


UNDECIDED = """
    SELECT (SELECT count(*) FROM silver.complaints)
           - (SELECT count(*) FROM gold.decisions WHERE coalesce(version, 1) = 1)
"""


def score_with_progress(settings: Settings) -> int:
    """Score with a progress bar; returns the number of complaints scored."""
    from gold.tables import DECISIONS
    from lakehouse.sql.query import query
    from silver.tables import COMPLAINTS
    from streaming.batch.backlog import score_backlog

    total = None
    with suppress(ComplaintsError):  # there are no tables yet, or they are in a workspace
        total = int(query(settings, (COMPLAINTS, DECISIONS), UNDECIDED).rows[0][0])
    with progress_bar() as show:
        return score_backlog(settings, lambda step, done: show(step, done, total if step == "scoring" else None))


@click.command()
@click.option("--if-due", is_flag=True, help="Do nothing when a stream does the scoring or there is no model yet.")
@json_option
@click.pass_obj
def score(invocation: Invocation, /, if_due: bool, as_json: bool) -> None:  # noqa: FBT001
    """Score the complaints that have no decision yet.

    Scores with the champion, adds the decisions to gold, and updates the aggregates. Needs no broker.

    \b
    Example:
        complaints score
    """
    from streaming.batch.backlog import not_due

    if if_due and (reason := not_due(invocation.settings())):
        terminal().print(f"Nothing scored: {reason}", markup=False, soft_wrap=True)
        return
    began = time.monotonic()
    rows = score_with_progress(invocation.settings())
    result = {"scored": rows, "seconds": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{rows:,} complaints scored in {result['seconds']:.0f} s")
