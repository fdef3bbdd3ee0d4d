"""`complaints train`, `evaluate` and `score`: the model from and for the lake's complaints."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help comes at once

import time
from dataclasses import asdict
from typing import Any

import click

from lakehouse.cli import Invocation, json_option, print_json, terminal
from lakehouse.settings import Settings


@click.command()
@json_option
@click.pass_obj
def train(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    r"""Train the model on complaints whose outcome is known, judge it on the latest, and make it the champion.

    \b
    Example:
        complaints train
    """
    result = train_with_status(invocation.settings())
    if as_json:
        print_json(result)
    else:
        print_training(result)


def train_with_status(settings: Settings) -> dict[str, Any]:
    """Train, showing what is under way; gives the training's values and its seconds."""
    from lakehouse.lake import Lake
    from lakehouse.session import start_session
    from ml.registry import Registry
    from ml.training import train as train_model

    began = time.monotonic()
    with terminal().status("starting Spark") as status:
        lake = Lake(start_session(settings), settings)
        training = train_model(lake, Registry(settings), status.update)
    return {**asdict(training), "seconds": round(time.monotonic() - began, 1)}


def print_training(result: dict[str, Any]) -> None:
    """What a training gave, for people."""
    metrics = result["metrics"]
    click.echo(f"version {result['version']} is the champion")
    click.echo(
        f"learned from {result['train_rows']:,} complaints received before {result['split_on']}, judged on "
        f"{metrics['rows']:,} received since; {result['unknown']:,} without a known outcome left out"
    )
    click.echo(
        f"AUC-ROC {metrics['auc_roc']:.3f}   AUC-PR {metrics['auc_pr']:.3f}   log loss {metrics['log_loss']:.3f}   "
        f"Brier {metrics['brier']:.3f}   success rate {metrics['base_rate']:.1%}"
    )


@click.command()
@json_option
@click.pass_obj
def score(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    r"""Score complaints that have no decision yet with the champion, and bring the aggregates up to date.

    \b
    Example:
        complaints score
    """
    from streaming.backlog import score_backlog

    began = time.monotonic()
    with terminal().status("starting Spark") as status:
        rows = score_backlog(invocation.settings(), lambda what, done: status.update(f"{what}: {done:,}"))
    result = {"scored": rows, "seconds": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{rows:,} complaints scored in {result['seconds']:.0f} s")
