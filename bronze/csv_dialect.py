"""How a CSV file is written: delimiter, line ends, spaces, quoted lines, and how quotes inside cells are escaped."""

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from bronze.records import BYTE_ORDER_MARK, MAX_RECORD, key_of

DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([^\r\n])"?[\r\n]', re.IGNORECASE)  # Excel's first line, names the delimiter
_LINE_END = re.compile(r"\r+\n|\n|\r")
_SPACE_BEFORE_QUOTE = re.compile(' +"')
_PIECE = re.compile(r'\\["\\]|"')

csv.field_size_limit(2 * MAX_RECORD)  # the csv module's default limit would refuse long narratives


@dataclass(frozen=True)
class Dialect:
    """How the cells of a CSV file are separated.

    Attributes:
        delimiter: the character between two cells.
        line_end: the last character of each line; a carriage return only where files have no other line ends.
        has_separator_line: whether the first line names the delimiter (``sep=;``), as Excel writes it.
        skips_spaces: whether spaces after a delimiter are not part of the cell.
        has_quoted_lines: whether each line is quoted as a whole, and its quotes are doubled.
    """

    delimiter: str = ","
    line_end: str = "\n"
    has_separator_line: bool = False
    skips_spaces: bool = False
    has_quoted_lines: bool = False

    def rows(self, lines: Iterable[str], *, strict: bool = False) -> Iterator[list[str]]:
        """Return the rows of lines; strict raises `csv.Error` if anything follows a closing quote inside a cell."""
        rows = self._rows(lines, strict=strict)
        return self._unquoted(rows) if self.has_quoted_lines else rows

    def _rows(self, lines: Iterable[str], *, strict: bool) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.skips_spaces, strict=strict)

    def _unquoted(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        for row in rows:
            yield next(self._rows(io.StringIO(row[0], newline="\n"), strict=False), []) if len(row) == 1 else row


def dialect_of(head: str, known_keys: Collection[str]) -> Dialect:
    """Return the dialect of a CSV file: the one in which its header names most fields.

    Args:
        head: the beginning of the file, with its header.
        known_keys: the keys (`key_of`) of the known fields.
    """
    head = head.lstrip(BYTE_ORDER_MARK)
    end = _LINE_END.search(head)
    line_end = "\r" if end and end[0] == "\r" else "\n"
    separator = _SEPARATOR_LINE.match(head)
    body = head[separator.end() :] if separator else head
    delimiters = (separator[1],) if separator else DELIMITERS
    dialects = (
        Dialect(delimiter, line_end, separator is not None, skips, quoted)
        for quoted in (False, True)
        for delimiter in delimiters
        for skips in (False, True)
    )
    return max(dialects, key=lambda dialect: _fit(dialect, body, known_keys))


def _fit(dialect: Dialect, head: str, known_keys: Collection[str]) -> tuple[int, bool]:
    """How many fields the header names, and whether spaces before quotes, if any, are skipped."""
    rows = filter(None, dialect.rows(io.StringIO(head, newline=dialect.line_end)))
    header, first = _next_of(rows), _next_of(rows)
    named = sum(key_of(cell) in known_keys for cell in header)
    has_spaces = any(cell.startswith(" ") for cell in header[1:]) or any(map(_SPACE_BEFORE_QUOTE.match, first))
    return named, not has_spaces


def _next_of(rows: Iterator[list[str]]) -> list[str]:
    try:
        return next(rows, [])
    except csv.Error:
        return []


def title_of(cell: str) -> str:
    """Return a column's title without what cannot be seen or typed: byte order marks, odd spaces, dashes and marks."""
    if cell.isascii():
        return cell
    text = unicodedata.normalize("NFKC", cell)
    return "".join(each for each in text if each.isascii() or each.isalnum()).strip()


class BackslashEscapes:
    r"""Cells in which a backslash escapes a quote (``\"``) and itself, as Spark writes them, instead of ``""``.

    Attributes:
        are_used: whether the file's lines are read so.
    """

    def __init__(self, delimiter: str) -> None:
        self.are_used = False
        self._evidence = re.compile(rf'\\"[^"\r\n{re.escape(delimiter)}]')  # elsewhere this quote would end the cell
        self._is_quoted = False

    def are_evident(self, line: str) -> bool:
        """Whether a line can only be meant so."""
        return not self.are_used and self._evidence.search(line) is not None

    def standard(self, line: str, *, is_first: bool) -> str:
        """Return a line of a record, or its first, with doubled quotes in the place of escaped ones."""
        self._is_quoted &= not is_first
        return _PIECE.sub(self._replacement, line)

    def _replacement(self, piece: re.Match[str]) -> str:
        if piece[0] == '"':
            self._is_quoted = not self._is_quoted
            return '"'
        if not self._is_quoted:
            return piece[0]
        return '""' if piece[0] == '\\"' else "\\"
