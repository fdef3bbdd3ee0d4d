"""`complaints evaluate`: how good a version is on complaints that it did not learn from."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help comes at once

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal, three_decimals
from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.tables.lake import Lake
    from ml.evaluation.evaluation import Judged


@click.command()
@click.option("--data", type=click.Path(path_type=Path), metavar="PATH", help="Complaints to evaluate on: a file.")
@click.option("--version", metavar="NAME", help="Version, by number or alias (default: champion).")
@json_option
@click.pass_obj
def evaluate(invocation: Invocation, data: Path | None, version: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Evaluate the champion on complaints with a known outcome that it did not learn from, beside three baselines.

    Without --data these are the test part of its training and what came since. The file of --data is read apart, and
    nothing of it is stored. The report goes to <root>/reports and beside the version in the registry.

    \b
    Example:
        complaints evaluate
        complaints evaluate --data complaints-2024.csv --json
    """
    judged, path = _judged(invocation, data, version)
    result = judged.evaluation.as_json()
    if as_json:
        print_json(result)
    else:
        _print_evaluation(result)
    terminal().print(f"Report: {path}", soft_wrap=True)


def _judged(invocation: Invocation, data: Path | None, version: str | None) -> tuple["Judged", Path]:
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from ml.evaluation.evaluation import evaluate as evaluate_model
    from ml.evaluation.report import written
    from ml.registry.registry import Registry

    settings = invocation.settings()
    registry = Registry(settings)
    number = registry.version(version).number if version else registry.champion_version()
    registry.check(number)
    with tempfile.TemporaryDirectory() as scratch, terminal().status("starting Spark") as status:
        lake = Lake(start_session(settings), settings)
        apart = _read_apart(invocation, data, Path(scratch)) if data else None
        judged = evaluate_model(lake, registry, status.update, version=number, apart=apart)
        status.update("writing the report")
        name = f"evaluation-{judged.evaluation.version}" + (f"-{data.stem}" if data else "")
        path = written(judged, settings.folder / "reports" / name)
        registry.attach(judged.evaluation.version, path.parent, name)
    return judged, path


def _read_apart(invocation: Invocation, data: Path, folder: Path) -> "Lake":
    """The file's complaints in a lake of their own."""
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from streaming.batch.load import load_files

    settings = load_settings(**{**invocation.options, "root": folder})
    if settings.lake.catalog:
        msg = "--data reads a file apart on a laptop only: on Databricks load it, and evaluate without --data."
        raise ComplaintsError(msg)
    for sentence in load_files(settings, [data], lambda *_: None).errors:
        raise ComplaintsError(sentence)
    return Lake(start_session(settings), settings)


def _print_evaluation(result: dict[str, Any]) -> None:
    click.echo(
        f"version {result['version']} on {result['rows']:,} complaints with a known outcome "
        f"({result['unknown']:,} without one left out), of which {result['base_rate']:.1%} ended successfully"
    )
    others = result["baselines"]
    print_grid(
        ("measure", "value", "95 % interval", *(name.replace("_", " ") for name in others)),
        [
            (
                name,
                three_decimals(result[name]),
                _range(interval),
                *(three_decimals(figures[name]) for figures in others.values()),
            )
            for name, interval in result["intervals"].items()
        ],
    )
    for name, groups in result["groups"].items():
        click.echo("")
        print_grid(
            (name.replace("_", " "), "rows", "success rate", "AUC-ROC", "95 % interval", "scikit-learn", "ECE"),
            [
                (
                    value,
                    f"{figures['rows']:,}",
                    f"{figures['base_rate']:.1%}",
                    three_decimals(figures["auc_roc"]),
                    _range(figures["auc_roc_interval"]),
                    three_decimals(figures.get("scikit_learn_auc_roc")),
                    three_decimals(figures["ece"]),
                )
                for value, figures in groups.items()
            ],
        )


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
