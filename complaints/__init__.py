"""The command line `complaints`: each command parses, calls, prints. Nothing here knows how the work is done."""

import importlib
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.errors import ComplaintsError
from lakehouse.privacy import restrict_to_owner
from lakehouse.settings import Settings, load_settings

# Where each command lives; imported only when it is asked for, so that help comes at once.
COMMANDS = {
    "setup": "complaints.setup:setup",
    "demo": "complaints.demo:demo",
    "load": "complaints.load:load",
    "quarantine": "complaints.quarantine:quarantine",
    "trace": "complaints.complaint:trace",
    "erase": "complaints.complaint:erase",
    "verify": "complaints.verify:verify",
    "explore": "complaints.explore:explore",
    "train": "complaints.model:train",
    "evaluate": "complaints.evaluate:evaluate",
    "models": "complaints.models:models",
    "score": "complaints.model:score",
    "tables": "complaints.tables:tables",
    "topics": "complaints.kafka:topics",
    "produce": "complaints.kafka:produce",
    "stream": "complaints.stream:stream",
    "run": "complaints.stream:run",
    "bench": "complaints.bench:bench",
    "sql": "complaints.sql:sql",
    "databricks": "complaints.databricks:databricks",
    "monitor": "complaints.monitor:monitor",
    "superset": "complaints.superset:superset",
}

WIDE = 500  # characters; where nobody watches, no line is broken

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Invocation:
    """What was given before the command's name."""

    root: str | None
    environment: str | None

    @property
    def options(self) -> dict[str, Any]:
        """The settings given as options; None where none was."""
        return {"root": self.root, "environment": self.environment}

    def settings(self) -> Settings:
        """The settings of this run; from here on the lake's files are their owner's alone."""
        settings = load_settings(**self.options)
        if settings.is_local:
            restrict_to_owner(settings.folder)
        return settings


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--root", metavar="FOLDER", help="Folder of this lake (default: COMPLAINTS_ROOT, or .lakehouse).")
@click.option(
    "--environment", metavar="NAME", help="local, dev, staging or prod (default: COMPLAINTS_ENVIRONMENT, or local)."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="complaints")
@click.pass_context
def cli(ctx: click.Context, root: str | None, environment: str | None, debug: bool) -> None:  # noqa: ARG001, FBT001
    """Complaint lakehouse: complaints from Kafka and files to decisions that people can act on.

    \b
    Example:
        complaints demo
    """
    ctx.obj = Invocation(root, environment)


def main() -> None:
    """Run the command line: one sentence for an error that a person can mend, the traceback with --debug."""
    debug = "--debug" in sys.argv
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        Console(stderr=True).print("Stopped.")
        sys.exit(130)
    except ComplaintsError as error:
        if debug:
            traceback.print_exc()
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"Error: {error}", style="red")
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence, not a traceback
        if debug:
            traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
            f"Error: something unforeseen went wrong ({type(error).__name__}: {first}). "
            "Run the command again with --debug before its name to see where.",
            style="red",
        )
        sys.exit(1)


def json_option(function: Function) -> Function:
    """The option --json: one JSON object on standard output, and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(function)


def print_json(result: Mapping[str, Any]) -> None:
    """The result as one JSON object on standard output."""
    click.echo(json.dumps(result, default=str, ensure_ascii=False))


def print_grid(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> None:
    """Rows under their columns' names on standard output, whole also where that is no terminal.

    Args:
        columns: names.
        rows: values; None is shown as nothing.
        numbers: whether all but the first column hold numbers, and stand to the right.
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDE
    grid = Grid(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        grid.add_column(name, justify="right" if numbers and place else "left", overflow="fold")
    for row in rows:
        shown = (_shown(value, is_number=numbers and place > 0) for place, value in enumerate(row))
        grid.add_row(*shown)
    console.print(grid)


def _shown(value: object, *, is_number: bool) -> str:
    if value is None:
        return ""
    return f"{value:,}" if is_number else str(value)


def three_decimals(value: float | None) -> str:
    """A measure of the model as tables show it; nothing where there is none."""
    return "" if value is None else f"{value:.3f}"


def terminal() -> Console:
    """The console for progress and notes: standard error, so that standard output holds results alone."""
    return Console(stderr=True, highlight=False)
