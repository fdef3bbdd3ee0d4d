"""`complaints train`, `evaluate` and `score`: the model from and for the lake's complaints."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help comes at once

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lakehouse.cli import Invocation, json_option, print_grid, print_json, terminal
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from lakehouse.lake import Lake


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
        f"fitted on {result['train_rows']:,} complaints, calibrated on {result['calibrate_rows']:,} later ones, "
        f"judged on {metrics['rows']:,} later still; {result['copies']:,} copies of later narratives and "
        f"{result['unknown']:,} complaints without a known outcome left out"
    )
    low, high = metrics["auc_roc_interval"]
    click.echo(
        f"AUC-ROC {metrics['auc_roc']:.3f} ({low:.3f} to {high:.3f})   AUC-PR {metrics['auc_pr']:.3f}   log loss "
        f"{metrics['log_loss']:.3f}   Brier {metrics['brier']:.3f}   calibration error {metrics['ece']:.3f}   success "
        f"rate {metrics['base_rate']:.1%}"
    )
    for sentence in result["warnings"]:
        click.echo(f"note: {sentence}")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), metavar="PATH", help="Complaints to evaluate on: a file.")
@json_option
@click.pass_obj
def evaluate(invocation: Invocation, data: Path | None, as_json: bool) -> None:  # noqa: FBT001
    r"""Evaluate the champion on complaints with a known outcome that it did not learn from.

    Without --data these are the complaints of the lake received since the champion's training ended. The file of --data
    is read apart, and nothing of it is stored.

    \b
    Example:
        complaints evaluate
        complaints evaluate --data complaints-2024.csv --json
    """
    from lakehouse.lake import Lake
    from lakehouse.session import start_session
    from ml.evaluation import evaluate as evaluate_model
    from ml.registry import Registry

    settings = invocation.settings()
    registry = Registry(settings)
    registry.champion_version()
    with tempfile.TemporaryDirectory() as scratch, terminal().status("starting Spark") as status:
        if data is not None:
            status.update(f"reading {data.name}")
            lake = _read_apart(invocation, data, Path(scratch))
        else:
            lake = Lake(start_session(settings), settings)
        result = evaluate_model(lake, registry, status.update, whole=data is not None).as_json()
    if as_json:
        print_json(result)
    else:
        _print_evaluation(result)


def _read_apart(invocation: Invocation, data: Path, folder: Path) -> "Lake":
    """The file's complaints in a lake of their own."""
    from lakehouse.lake import Lake
    from lakehouse.session import start_session
    from streaming.load import load_files

    settings = invocation.settings()
    if settings.lake.catalog:
        msg = "--data reads a file apart on a laptop only: on Databricks load it, and evaluate without --data."
        raise ComplaintsError(msg)
    start_session(settings)
    apart = load_settings(**{**invocation.options, "root": folder})
    for sentence in load_files(apart, [data], lambda *_: None).errors:
        raise ComplaintsError(sentence)
    return Lake(start_session(settings), apart)


def _print_evaluation(result: dict[str, Any]) -> None:
    click.echo(
        f"version {result['version']} on {result['rows']:,} complaints with a known outcome "
        f"({result['unknown']:,} without one left out), of which {result['base_rate']:.1%} ended successfully"
    )
    names = list(result["intervals"])
    print_grid(
        ("measure", "value", "95 % interval"),
        [(name, _three(result[name]), _range(result["intervals"][name])) for name in names],
    )


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


@click.command()
@click.option("--if-due", is_flag=True, help="Do nothing where a stream scores, or no model has been trained yet.")
@json_option
@click.pass_obj
def score(invocation: Invocation, /, if_due: bool, as_json: bool) -> None:  # noqa: FBT001
    r"""Score complaints that have no decision yet with the champion, and bring the aggregates up to date.

    \b
    Example:
        complaints score
    """
    from streaming.backlog import not_due, score_backlog

    if if_due and (reason := not_due(invocation.settings())):
        terminal().print(f"Nothing scored: {reason}", markup=False, soft_wrap=True)
        return
    began = time.monotonic()
    with terminal().status("starting Spark") as status:
        rows = score_backlog(invocation.settings(), lambda what, done: status.update(f"{what}: {done:,}"))
    result = {"scored": rows, "seconds": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{rows:,} complaints scored in {result['seconds']:.0f} s")
