"""The command line `complaints`: each command parses options, calls a package, and prints the result."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid

from complaints.cells import as_text
from complaints.records import record_lines
from lakehouse.errors import ComplaintsError
from lakehouse.json_values import as_json
from lakehouse.logs import log_to_file
from lakehouse.privacy import restrict_to_owner
from lakehouse.settings import Settings, load_settings, refuse_outside_workspace
from lakehouse.spark import java_process

# The function behind each command; its module is imported on first use, so that help is fast.
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
    "live": "complaints.live:live",
    "bench": "complaints.bench:bench",
    "sql": "complaints.sql:sql",
    "databricks": "complaints.databricks:databricks",
    "monitor": "complaints.monitor:monitor",
    "superset": "complaints.superset:superset",
}

GAP = 2  # spaces between two columns of a grid
LONG_WORD = 24  # characters that a cell keeps on one line; a longer word, such as a path, may be broken
HELP_WIDTH = 120  # characters that help uses at most; click's default is 80

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Invocation:
    """The options given before the command's name."""

    root: str | None
    environment: str | None

    @property
    def options(self) -> dict[str, Any]:
        """The settings given as options; None for those that were not given."""
        return {"root": self.root, "environment": self.environment}

    def settings(self, *, uses_tables: bool = True) -> Settings:
        """Load this run's settings; files created from here on are readable by their owner only.

        Args:
            uses_tables: whether the command reads or writes the lake's tables or models.

        Raises:
            ComplaintsError: a setting is wrong, or the tables are in a workspace that this machine is not part of.
        """
        settings = load_settings(**self.options)
        if uses_tables:
            refuse_outside_workspace(settings)
        if settings.platform.tables_are_files:
            restrict_to_owner(settings.folder)
            log_to_file(settings)
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


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH})
@click.option("--root", metavar="FOLDER", show_default="COMPLAINTS_ROOT, or .lakehouse", help="Folder of the lake.")
@click.option(
    "--environment",
    metavar="NAME",
    show_default="COMPLAINTS_ENVIRONMENT, or local",
    help="Environment: local, dev, staging or prod.",
)
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.version_option(package_name="complaints")
@click.pass_context
def cli(ctx: click.Context, root: str | None, environment: str | None, debug: bool) -> None:  # noqa: ARG001, FBT001
    """Turn consumer complaints into decisions to act on.

    Complaints arrive on Kafka or as export files. They are stored in Delta tables, scored by a model, and become
    decisions: how urgent, which team, what to do first, by when, and why. The options below go before the command;
    `complaints COMMAND --help` describes a command.

    \b
    Example:
        complaints demo
    """
    ctx.obj = Invocation(root, environment)


def main() -> None:
    """Run the command line; an error is printed as one sentence, with its traceback only under --debug."""
    debug = "--debug" in sys.argv
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as requested:
        sys.exit(requested.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        Console(stderr=True).print("Stopped.")
        sys.exit(130)
    except ComplaintsError as error:
        if debug:
            traceback.print_exc()
        _print_error(f"Error: {error}")
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, not a traceback
        if debug:
            traceback.print_exc()
        _print_error(f"Error: {_unexpected(error)}")
        sys.exit(1)


def _unexpected(error: Exception) -> str:
    if java_process.has_ended():
        return java_process.ENDED
    first = (str(error).strip().splitlines() or [""])[0]
    return (
        f"unexpected failure ({type(error).__name__}: {first}). "
        "Run the command again with --debug before its name to see the traceback."
    )


def _print_error(sentence: str) -> None:
    terminal().print(sentence, style="red", markup=False, soft_wrap=True)


def json_option(function: Function) -> Function:
    """Add the option --json: standard output is one JSON object and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(function)


def print_json(result: Mapping[str, Any]) -> None:
    """Print the result as one JSON object on standard output."""
    click.echo(as_json(result))


def print_grid(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False, folds: bool = True
) -> None:
    """Print rows under a header on standard output, or as records where the terminal is too narrow for the columns.

    When standard output is not a terminal, no line is wrapped. A column of numbers is right-aligned.

    Args:
        columns: the columns' names.
        rows: the values; None is shown as an empty cell.
        numbers: whether all columns but the first hold numbers, which are shown with thousands separators.
        folds: whether cells may wrap between words; otherwise records are printed as soon as a line would be too long.
    """
    values = [list(row) for row in rows]
    cells = [[_formatted(v, is_number=numbers and index > 0) for index, v in enumerate(row)] for row in values]
    console = Console(highlight=False, markup=False, emoji=False)
    texts = list(zip(columns, *cells, strict=True))
    natural, narrowest = [_width(column) for column in texts], [_folded_width(column) for column in texts]
    room = (console.width if console.is_terminal else sys.maxsize) - GAP * (len(columns) - 1)
    if sum(narrowest if folds else natural) > room:
        print_records(columns, cells)
        return
    widths = _fitted(narrowest, natural, room)
    console.width = sum(widths) + GAP * (len(columns) - 1)
    grid = Grid(box=None, pad_edge=False)
    for index, (name, width) in enumerate(zip(columns, widths, strict=True)):
        to_the_right = (numbers and index > 0) or _are_numbers(row[index] for row in values)
        grid.add_column(name, justify="right" if to_the_right else "left", overflow="fold", width=width)
    for row in cells:
        grid.add_row(*row)
    console.print(grid)


def print_records(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print each row as a record, one line per column, on standard output."""
    for line in record_lines(Console(), columns, [[as_text(value) for value in row] for row in rows]):
        click.echo(line)


def _are_numbers(values: Iterable[object]) -> bool:
    """Whether all values that are not null are numbers, and there is at least one."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, Number) and not isinstance(value, bool) for value in known)


def _width(cells: Iterable[str]) -> int:
    """Return the width of a column that wraps nothing."""
    return max(map(cell_len, "\n".join(cells).splitlines()), default=0)


def _folded_width(cells: Iterable[str]) -> int:
    """Return the width of a column that wraps only between words, and inside very long ones."""
    return max((min(cell_len(word), LONG_WORD) for word in " ".join(cells).split()), default=0)


def _fitted(narrowest: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Return the columns' widths: what each needs at least, and an equal share of the rest, up to its whole width."""
    widths, spare = list(narrowest), room - sum(narrowest)
    wanting = sorted(range(len(widths)), key=lambda index: natural[index] - narrowest[index])
    for left, index in zip(range(len(widths), 0, -1), wanting, strict=True):
        grown = min(natural[index] - narrowest[index], spare // left)
        widths[index] += grown
        spare -= grown
    return widths


def _formatted(value: object, *, is_number: bool) -> str:
    return f"{value:,}" if is_number and value is not None else as_text(value)


def three_decimals(value: float | None) -> str:
    """Format a model metric for a table; an empty string for None."""
    return "" if value is None else f"{value:.3f}"


def terminal() -> Console:
    """Return the console for progress and notes: standard error, so that standard output holds only results."""
    return Console(stderr=True, highlight=False, emoji=False)
