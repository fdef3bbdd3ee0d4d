"""Rows as records, one line per column, as psql prints them in its expanded form."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

MIN_WIDTH = 20  # characters for the values, however narrow the terminal is


def record_lines(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of all records.

    Args:
        console: where they will be printed; when that is a terminal, values wrap at its width.
        columns: the columns' names.
        rows: the values as text.
    """
    left = max(map(cell_len, (*columns, _title(len(rows)))))
    room = max(console.width - left - 3, MIN_WIDTH) if console.is_terminal else None
    for number, row in enumerate(rows, 1):
        values = [_lines(console, value, room) for value in row]
        right = max((cell_len(line) for lines in values for line in lines), default=0)
        yield f"{_title(number).ljust(left, '-')}-+-{'-' * right}"
        for name, (first, *more) in zip(columns, values, strict=True):
            yield f"{set_cell_size(name, left)} | {first}".rstrip()
            yield from (f"{' ' * left} | {line}".rstrip() for line in more)


def _title(number: int) -> str:
    return f"-[ RECORD {number} ]"


def _lines(console: Console, value: str, room: int | None) -> list[str]:
    if room is None:
        return value.split("\n")
    return [line.plain for line in Text(value).wrap(console, room)] or [""]
