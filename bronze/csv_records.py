"""Read the records of a CSV file: valid rows as JSON objects of their cells, broken ones as raw text."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from json.encoder import encode_basestring
from typing import TextIO

from bronze.records import MAX_RECORD, FileRecord, is_text, raw_record

RESYNC_COLUMNS = 5  # with fewer columns, a line of text inside a broken narrative could look like a row


class _TooLongError(Exception):
    """The current record exceeds MAX_RECORD."""


class CsvRecords:
    """The header and the records of one CSV file.

    A record is valid if it has as many cells as the header and ends outside quotes. If a broken record spans several
    lines, because of a stray quote, the lines from the first valid row on are read again, so no valid row is lost.

    Args:
        text: the file, decoded with ``surrogateescape``, line endings unchanged.
        is_cut: called at the end of the text; returns whether the file was truncated there.
    """

    def __init__(self, text: TextIO, is_cut: Callable[[], bool]) -> None:
        csv.field_size_limit(2 * MAX_RECORD)  # the csv module's default limit would refuse long narratives
        self._source: Iterator[str] = iter(partial(text.readline, MAX_RECORD), "")
        self._is_cut = is_cut
        self._again: deque[str] = deque()  # lines to read again
        self._taken: list[str] = []  # lines of the current record
        self._line = 1
        self._number = 0
        self._is_broken = False  # the current record, whatever its cells
        self._ended = False
        self._last_is_valid = True
        self.header = self._read_header()

    def __iter__(self) -> Iterator[FileRecord]:
        """Yield the records in file order; the last record of a truncated file is a broken one."""
        while not self._ended or self._again:
            try:
                yield from self._rows()
            except (_TooLongError, csv.Error):
                yield self._broken()
        if self._is_cut() and self._last_is_valid:
            yield self._raw([])

    def _read_header(self) -> list[str]:
        """Read the first non-blank row; an empty list if there is none."""
        try:
            row = next(filter(None, csv.reader(self._lines())), [])
        except (_TooLongError, csv.Error):
            row = []
        self._next()
        return [cell.encode(errors="surrogateescape").decode(errors="replace") for cell in row]

    def _rows(self) -> Iterator[FileRecord]:
        """Yield records up to the end, or up to a broken record with lines to read again."""
        width = len(self.header)
        parts = [part for key in self.header for part in (f", {encode_basestring(key)}: ", "")]
        parts = ["{", *parts, "}"]
        parts[1] = parts[1].removeprefix(", ")
        self._is_broken = False
        for row in csv.reader(self._lines()):
            if len(row) == width and not self._is_broken:
                parts[2:-1:2] = map(encode_basestring, row)
                payload = "".join(parts)
                if payload.isascii() or is_text(payload):
                    self._number += 1
                    yield FileRecord(self._number, self._line, payload, None, "csv")
                    self._next()
                else:
                    yield self._raw(self._taken)
            elif row:
                yield self._broken()
                if self._again:
                    return
            else:
                self._next()

    def _lines(self) -> Iterator[str]:
        """Yield lines to the csv module, which requests one only when it starts or continues a record."""
        taken = self._taken
        size = 0
        for line in chain(self._lines_again(), self._source):
            size = size + len(line) if taken else len(line)
            taken.append(line)
            if size >= MAX_RECORD:
                raise _TooLongError
            if line[-1] != "\n":
                self._is_broken = self._is_cut()
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

    def _broken(self) -> FileRecord:
        """Return the current record as raw text, up to its first line that is a valid row by itself."""
        lines = self._taken
        end = next((at for at in range(1, len(lines)) if self._is_row(lines[at])), len(lines))
        self._again.extendleft(reversed(lines[end:]))
        return self._raw(lines[:end])

    def _is_row(self, line: str) -> bool:
        if len(self.header) < RESYNC_COLUMNS:
            return False
        try:
            return [len(row) for row in csv.reader([line], strict=True)] == [len(self.header)]
        except csv.Error:
            return False

    def _raw(self, lines: list[str]) -> FileRecord:
        raw = "".join(lines)
        self._number += 1
        record = raw_record(self._number, self._line, raw.removesuffix("\n").removesuffix("\r"), "csv")
        self._taken.clear()
        self._line += raw.count("\n")
        self._last_is_valid = False
        return record
