"""Records of a CSV file: whole rows as JSON objects of their cells, broken ones as raw text."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from json.encoder import encode_basestring
from typing import TextIO

from bronze.records import MAX_RECORD, FileRecord, is_text, raw_record

RESYNC_COLUMNS = 5  # with fewer columns, a line of prose inside a broken narrative could pass for a row


class _TooLongError(Exception):
    """The record in hand outgrew MAX_RECORD."""


class CsvRecords:
    """The header and the records of one CSV file.

    A record is whole when it has as many cells as the header and ends outside quotes. When a broken one spans lines, as
    a stray quote makes it, those from the first whole row on are read again, so that no good row is lost in it.

    Args:
        text: the file, decoded with ``surrogateescape``, its line ends as they are.
        is_cut: asked at the end of the text: whether the file was broken off there.
    """

    def __init__(self, text: TextIO, is_cut: Callable[[], bool]) -> None:
        csv.field_size_limit(2 * MAX_RECORD)  # the csv module's own limit would refuse long narratives
        self._source: Iterator[str] = iter(partial(text.readline, MAX_RECORD), "")
        self._is_cut = is_cut
        self._again: deque[str] = deque()  # lines to be read once more
        self._taken: list[str] = []  # lines of the record in hand
        self._line = 1
        self._number = 0
        self._is_broken = False  # the record in hand, whatever its cells
        self._ended = False
        self._last_is_whole = True
        self.header = self._read_header()

    def __iter__(self) -> Iterator[FileRecord]:
        """The records in the file's order; of a file that was broken off, the last is a broken one."""
        while not self._ended or self._again:
            try:
                yield from self._rows()
            except (_TooLongError, csv.Error):
                yield self._broken()
        if self._is_cut() and self._last_is_whole:
            yield self._raw([])

    def _read_header(self) -> list[str]:
        """The first row that isn't blank; no cells when there is none."""
        try:
            row = next(filter(None, csv.reader(self._lines())), [])
        except (_TooLongError, csv.Error):
            row = []
        self._next()
        return [cell.encode(errors="surrogateescape").decode(errors="replace") for cell in row]

    def _rows(self) -> Iterator[FileRecord]:
        """Records up to the end, or up to a broken one of which lines are to be read again."""
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
        """Lines for the csv module, which asks for the next one only when it begins or continues a record."""
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
        self._is_broken |= bool(taken)  # asked for more inside a record: its quotes never end

    def _lines_again(self) -> Iterator[str]:
        while self._again:
            yield self._again.popleft()

    def _next(self) -> None:
        self._line += len(self._taken)
        self._taken.clear()
        self._last_is_whole = True

    def _broken(self) -> FileRecord:
        """The record in hand as raw text, up to the first of its lines that is a whole row by itself."""
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
        self._last_is_whole = False
        return record
