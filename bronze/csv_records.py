"""Read the records of a CSV file: valid rows as JSON objects of their cells, broken ones as raw text."""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from json.encoder import encode_basestring
from typing import TextIO

from bronze.csv_dialect import BackslashEscapes, Dialect, title_of
from bronze.records import MAX_RECORD, FileRecord, is_text, key_of, raw_record

RESYNC_COLUMNS = 5  # with fewer columns, a line of text inside a broken narrative could look like a row
_RETURN = "\ue00d"  # stands for a carriage return inside an unquoted cell, which the csv module refuses


class _TooLongError(Exception):
    """The current record exceeds MAX_RECORD."""


class _EscapesError(Exception):
    """The current record must be read again, with backslash escapes."""


class CsvRecords:
    """The header and the records of one CSV file.

    A record is valid if it has as many cells as the header and ends outside quotes. Empty cells at its end may be
    missing or too many, as in files that Excel saved. If a broken record spans several lines, because of a stray quote,
    the lines from the first valid row on are read again, so no valid row is lost.

    Args:
        text: the file, decoded with ``surrogateescape``, line endings unchanged.
        is_cut: called at the end of the text; returns whether the file was truncated there.
        dialect: how its cells are separated.

    Attributes:
        names: the columns' titles; empty if there is no header.
    """

    def __init__(self, text: TextIO, is_cut: Callable[[], bool], dialect: Dialect) -> None:
        self._source: Iterator[str] = iter(partial(text.readline, MAX_RECORD), "")
        self._is_cut = is_cut
        self._dialect = dialect
        self._escapes = BackslashEscapes(dialect.delimiter)
        self._again: deque[str] = deque()  # lines to read again
        self._taken: list[str] = []  # lines of the current record
        self._line = 1
        self._number = 0
        self._is_broken = False  # the current record, whatever its cells
        self._ended = False
        self._last_is_valid = True
        self._has_short_rows = False
        self._break = -1  # number of the last broken record that didn't follow another one
        self._switched_at = 0  # the line of the record for which backslash escapes were last turned on or off
        self.names = self._read_header()
        keys = [part for title in self.names for part in (f", {encode_basestring(title)}: ", "")]
        self._parts = ["{", *keys, "}"]  # of a record's JSON object; every other one is a cell
        self._parts[1] = self._parts[1].removeprefix(", ")
        self._repeated = list(self._repeated_columns())

    def __iter__(self) -> Iterator[FileRecord]:
        """Yield the records in file order; the last record of a truncated file is a broken one."""
        while not self._ended or self._again:
            try:
                yield from self._rows()
            except _EscapesError:
                self._switch()
            except _TooLongError:
                yield self._broken()
            except csv.Error:
                if not self._is_better_switched():
                    yield self._with_carriage_returns() or self._broken()
        if self._is_cut() and self._last_is_valid:
            yield self._raw([])

    def _read_header(self) -> list[str]:
        """Read the first non-blank row; an empty list if there is none."""
        rows = filter(None, self._dialect.rows(self._lines()))
        try:
            if self._dialect.has_separator_line:
                next(rows, None)
            row = next(rows, [])
        except (_TooLongError, _EscapesError, csv.Error):
            row = []
        self._next()
        return [title_of(cell.encode(errors="surrogateescape").decode(errors="replace")) for cell in row]

    def _rows(self) -> Iterator[FileRecord]:
        """Yield records up to the end, or up to a broken record with lines to read again."""
        width = len(self.names)
        self._is_broken = False
        for row in self._dialect.rows(self._lines()):
            if len(row) == width and not self._is_broken:
                yield self._record(row)
            elif not row:
                self._next()
            else:
                if self._fits(row):
                    yield self._record(row)
                elif not self._is_better_switched():
                    yield self._broken()
                if self._again:
                    return

    def _repeated_columns(self) -> Iterator[tuple[int, int]]:
        """Yield the place of each column whose name an earlier one has too, and the place of the earlier one."""
        first: dict[str, int] = {}
        for at, key in enumerate(map(key_of, self.names)):
            if key and first.setdefault(key, at) != at:
                yield at, first[key]

    def _record(self, row: list[str]) -> FileRecord:
        self._parts[2:-1:2] = map(encode_basestring, row)
        payload = "".join(self._parts)
        if self._repeated and all(row[at] == row[first] for at, first in self._repeated):
            repeats = {at for at, _ in self._repeated}  # equal cells are one, others stay for silver to refuse
            cells = (each for at, each in enumerate(zip(self.names, row, strict=True)) if at not in repeats)
            payload = json.dumps(dict(cells), ensure_ascii=False)
        if not (payload.isascii() or is_text(payload)):
            return self._raw(self._taken)
        self._number += 1
        record = FileRecord(self._number, self._line, payload, None, "csv")
        self._next()
        return record

    def _fits(self, row: list[str]) -> bool:
        """Add or remove empty cells at a row's end, unless it may be broken; return whether it is valid then.

        A row is left as it is if one of its lines is a row by itself, if it has not even half of the cells, if it may
        be the end of the broken record before it, or if it may be truncated: a file's last row without a line end, or
        the last as the only one in which cells are missing.
        """
        width = len(self.names)
        if self._is_broken or any(map(self._is_row, self._taken[1:])):
            return False
        if not any(row[width:]):
            del row[width:]
        is_complete = self._number != self._break and self._taken[-1].endswith(self._dialect.line_end)
        if width > len(row) > width / 2 and is_complete and (self._has_short_rows or not self._is_last()):
            row.extend([""] * (width - len(row)))
            self._has_short_rows = True
        return len(row) == width

    def _is_last(self) -> bool:
        """Whether no line follows the current record; looks ahead by one line."""
        if not self._again:
            self._again.extend(islice(self._source, 1))
        return not self._again

    def _lines(self) -> Iterator[str]:
        """Yield lines to the csv module, which requests one only when it starts or continues a record."""
        taken, escapes, line_end = self._taken, self._escapes, self._dialect.line_end
        are_escaped = escapes.are_used  # until its next change, when the lines are read again
        size = 0
        for line in chain(self._lines_again(), self._source):
            size = size + len(line) if taken else len(line)
            taken.append(line)
            if size >= MAX_RECORD:
                raise _TooLongError
            if line[-1] != line_end:
                self._is_broken = self._is_cut()
            if are_escaped:
                yield escapes.standard(line, is_first=len(taken) == 1)
            elif "\\" in line and self._switched_at != self._line and escapes.are_evident(line):
                raise _EscapesError
            else:
                yield line
        self._ended = True
        self._is_broken |= bool(taken)  # the csv module wanted more lines: a quote was never closed

    def _lines_again(self) -> Iterator[str]:
        while self._again:
            yield self._again.popleft()

    def _next(self) -> None:
        self._line += len(self._taken)
        self._taken.clear()
        self._last_is_valid = True

    def _is_better_switched(self) -> bool:
        """Read the current record again if it is valid with backslash escapes on instead of off, or off instead of on.

        Returns:
            Whether its lines are read again.
        """
        if self._switched_at == self._line or not any('\\"' in line for line in self._taken):
            return False
        lines = iter(self._taken)
        if not self._escapes.are_used:
            escapes = BackslashEscapes(self._dialect.delimiter)
            lines = (escapes.standard(line, is_first=at == 0) for at, line in enumerate(self._taken))
        if not self._are_row(lines):
            return False
        self._switch()
        return True

    def _switch(self) -> None:
        """Turn backslash escapes on or off, and read the current record again; at most once for each record."""
        self._switched_at = self._line
        self._escapes.are_used = not self._escapes.are_used
        self._again.extendleft(reversed(self._taken))
        self._taken.clear()

    def _with_carriage_returns(self) -> FileRecord | None:
        """Return the current record if a carriage return inside an unquoted cell is all that is wrong with it."""
        line = "".join(self._taken).rstrip("\r\n")
        if "\r" not in line or _RETURN in line:
            return None
        try:
            row = next(self._dialect.rows([line.replace("\r", _RETURN)], strict=True), [])
        except csv.Error:
            return None
        return self._record([cell.replace(_RETURN, "\r") for cell in row]) if len(row) == len(self.names) else None

    def _broken(self) -> FileRecord:
        """Return the current record as raw text, up to its first line that is a valid row by itself."""
        lines = self._taken
        if self._number != self._break:
            self._break = self._number + 1
        end = next((at for at in range(1, len(lines)) if self._is_row(lines[at])), len(lines))
        self._again.extendleft(reversed(lines[end:]))
        return self._raw(lines[:end])

    def _is_row(self, line: str) -> bool:
        if len(self.names) < RESYNC_COLUMNS:
            return False
        if self._escapes.are_used:
            line = BackslashEscapes(self._dialect.delimiter).standard(line, is_first=True)
        return self._are_row(iter([line]))

    def _are_row(self, lines: Iterator[str]) -> bool:
        """Whether lines begin with a valid row."""
        try:
            return len(next(self._dialect.rows(lines, strict=True), [])) == len(self.names)
        except csv.Error:
            return False

    def _raw(self, lines: list[str]) -> FileRecord:
        raw = "".join(lines)
        self._number += 1
        record = raw_record(self._number, self._line, raw.removesuffix("\n").removesuffix("\r"), "csv")
        self._taken.clear()
        self._line += raw.count(self._dialect.line_end)
        self._last_is_valid = False
        return record
