"""`complaints load`: load export files into bronze and silver."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal
from complaints.progress import progress_bar
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from streaming.batch.load import LoadResult

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--arrived",
    is_flag=True,
    help="Load what arrived in the landing folder (setting lake.landing) since the last such load.",
)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load a full export over what is there: only what is new or has changed is stored, and complaints that are "
    "gone become withdrawn.",
)
@json_option
@click.pass_obj
def load(
    invocation: Invocation,
    /,
    paths: tuple[Path, ...],
    arrived: bool,  # noqa: FBT001
    snapshot: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Load CFPB export files into bronze and silver.

    PATH is a CSV or JSON file, plain, gzip or zip, or a folder of such files. Without PATH, the project's samples are
    loaded. Loading the same content again adds nothing. Columns that are no known field, and files of a folder that
    are skipped, are listed. Exits with 1 when a file cannot be read.

    \b
    Example:
        complaints load complaints.csv.zip narratives/
        complaints load samples --json
        complaints load --snapshot complaints.csv.zip
    """
    if arrived and paths:
        msg = "--arrived loads the files in lake.landing and takes no PATH."
        raise click.UsageError(msg)
    if snapshot and (paths or arrived):
        msg = "--snapshot loads its FILE alone: it takes no PATH and no --arrived."
        raise click.UsageError(msg)
    settings = invocation.settings()
    result = (
        load_export_with_progress(settings, snapshot)
        if snapshot
        else load_with_progress(settings, None if arrived else paths or (SAMPLES,))
    )
    if as_json:
        print_json(result.as_json())
    elif result.files or not result.errors:
        print_load(result.as_json())
    for sentence in result.errors:
        terminal().print(f"Error: {sentence}", style="red", markup=False, soft_wrap=True)
    for sentence in notes_of(result):
        terminal().print(sentence, markup=False, soft_wrap=True)
    if result.errors:
        sys.exit(1)


def notes_of(result: "LoadResult") -> Iterator[str]:
    """Yield a sentence for all that a load left out or could not use, except files that it could not read."""
    from bronze.files import SUFFIXES

    for file in result.files:
        yield from file.warnings
        if file.unknown_columns:
            names = ", ".join(f"'{name}'" for name in file.unknown_columns)
            yield f"{file.path.name} has columns that are no known field, kept in bronze.complaints only: {names}."
    for path in result.skipped:
        yield f"Skipped {path}: its name ends in none of {', '.join(SUFFIXES)}; name the file to load it."
    for path in result.waiting:
        yield f"{path.name} is still being written: the next load reads it."


def load_with_progress(settings: Settings, paths: tuple[Path, ...] | None) -> "LoadResult":
    """Load files with a progress bar; None loads the new files in the landing folder."""
    from streaming.batch.load import load_arrivals, load_files

    with progress_bar() as show:
        return load_arrivals(settings, show) if paths is None else load_files(settings, paths, show)


def load_export_with_progress(settings: Settings, path: Path) -> "LoadResult":
    """Load a full export with a progress bar."""
    from streaming.batch.load import load_full_export

    with progress_bar() as show:
        return load_full_export(settings, path, show)


def print_load(result: dict[str, Any]) -> None:
    """Print the result of a load as text."""
    is_compared = "unchanged" in result
    columns = ("rows", "silver", "quarantined", "duplicates", *(["unchanged"] if is_compared else []), "outcomes")
    new = {name: counts for name, counts in result["files"].items() if not counts["known"]}
    if not result["files"]:
        click.echo("no new files")
    if known := len(result["files"]) - len(new):
        click.echo(f"{known} of {len(result['files'])} files were loaded before and add nothing")
    if new and "silver" not in result:
        click.echo(f"{result['rows']:,} rows landed in {result['seconds']:.0f} s; the running stream does the rest")
    elif new:
        rows = [(name, *(counts[column] for column in columns)) for name, counts in new.items()]
        print_grid(("file", *columns), [*rows, ("total", *(result[column] for column in columns))], numbers=True)
        places = [name for name in columns if name not in {"rows", "outcomes"}]
        sign = "=" if result["rows"] == sum(result[name] for name in places) else "is NOT"
        click.echo(f"rows {sign} {' + '.join(places)}; {result['seconds']:.0f} s")
    if new and is_compared:
        click.echo(f"{result['withdrawn']:,} complaints withdrawn, {result['returned']:,} returned")
