"""`complaints evaluate`: a model version's metrics on complaints that it was not trained on."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

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
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE", help="Export file of complaints to evaluate on."
)
@click.option("--version", metavar="NAME", show_default="champion", help="Number or alias of the version to evaluate.")
@json_option
@click.pass_obj
def evaluate(invocation: Invocation, data: Path | None, version: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Evaluate a model version on complaints new to it.

    Compares the version with three baselines on complaints with a known outcome that it was not trained on: the test
    set of its training and the complaints that arrived since, or those in the --data file. That file is read separately
    and not stored in the lake. Copies of narratives that it was trained on are left out. The report goes to
    <root>/reports and, with the version, to the registry.

    \b
    Example:
        complaints evaluate
        complaints evaluate --data complaints-2024.csv --json
    """
    evaluated, path = _evaluated(invocation, data, version)
    result = evaluated.evaluation.as_json()
    if as_json:
        print_json(result)
    else:
        _print_evaluation(result)
    terminal().print(f"Report: {path}", soft_wrap=True)


def _evaluated(invocation: Invocation, data: Path | None, version: str | None) -> tuple["Judged", Path]:
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from ml.evaluation.evaluation import evaluate as evaluate_model
    from ml.evaluation.report import written
    from ml.registry.registry import Registry

    settings = invocation.settings()
    if data is not None and not data.exists():  # refused before the slow start of Spark
        msg = f"There is no file {data}: --data takes an export file."
        raise ComplaintsError(msg)
    registry = Registry(settings)
    number = registry.version(version).number if version else registry.champion_version()
    registry.check(number)
    with tempfile.TemporaryDirectory() as scratch, terminal().status("starting Spark") as status:
        lake = Lake(start_session(settings), settings)
        separate = _read_separately(invocation, data, Path(scratch)) if data else None
        evaluated = evaluate_model(lake, registry, status.update, version=number, apart=separate)
        status.update("writing the report")
        name = f"evaluation-{evaluated.evaluation.version}" + (f"-{data.stem}" if data else "")
        path = written(evaluated, settings.folder / "reports" / name)
        registry.attach(evaluated.evaluation.version, path.parent, name)
    return evaluated, path


def _read_separately(invocation: Invocation, data: Path, folder: Path) -> "Lake":
    """Load the file's complaints into a lake of their own."""
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from streaming.batch.load import load_files

    settings = load_settings(**{**invocation.options, "root": folder})
    if not settings.platform.tables_are_files:
        msg = "--data works only on a laptop: on Databricks, load the file and evaluate without --data."
        raise ComplaintsError(msg)
    for sentence in load_files(settings, [data], lambda *_: None).errors:
        raise ComplaintsError(sentence)
    return Lake(start_session(settings), settings)


def _print_evaluation(result: dict[str, Any]) -> None:
    click.echo(
        f"version {result['version']} on {result['rows']:,} complaints with a known outcome "
        f"({result['unknown']:,} without one excluded), of which {result['base_rate']:.1%} ended successfully"
    )
    for sentence in result["notes"]:
        click.echo(f"note: {sentence}")
    baselines = result["baselines"]
    print_grid(
        ("metric", "value", "95 % interval", *(name.replace("_", " ") for name in baselines)),
        [
            (
                name,
                three_decimals(result[name]),
                _range(interval),
                *(three_decimals(metrics[name]) for metrics in baselines.values()),
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
                    f"{metrics['rows']:,}",
                    f"{metrics['base_rate']:.1%}",
                    three_decimals(metrics["auc_roc"]),
                    _range(metrics["auc_roc_interval"]),
                    three_decimals(metrics.get("scikit_learn_auc_roc")),
                    three_decimals(metrics["ece"]),
                )
                for value, metrics in groups.items()
            ],
        )


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
