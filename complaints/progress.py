"""Progress bars on standard error; without a terminal nothing is printed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from complaints import terminal

Show = Callable[[str, int, int | None], None]


def progress(*columns: ProgressColumn) -> Progress:
    """Return a progress display that disappears at its end."""
    console = terminal()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def progress_bar() -> Iterator[Show]:
    """Yield a function that shows the current step, how much of it is done, and its total; None if that is unknown."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with progress(*columns) as shown:
        task = shown.add_task("starting Spark", total=None)

        def show(step: str, done: int, total: int | None) -> None:
            shown.update(task, description=step, completed=done, total=total)

        yield show
