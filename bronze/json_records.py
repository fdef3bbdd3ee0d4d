"""Read the records of a JSON file, as their original text: an array, lines, API responses, or one object."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from bronze.records import MAX_RECORD, FileRecord, raw_record

CHUNK = 1 << 20  # characters
_TOKEN = 16  # characters: longest literal, number's sign or escape that the end of the buffer can cut
_BLANKS = re.compile(r"[ \t\r\n]*")
_NEXT_OBJECT = re.compile(r"(?:\}\s*,?|\n)\s*(?=\{)")
# Numbers stay text: they may have thousands of digits, and their values are not used here.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


class _Buffer:
    """A window on the text, starting at the current record."""

    def __init__(self, text: TextIO) -> None:
        self._source = text
        self.text = text.read(CHUNK)
        self.at = 0
        self.line = 1

    def more(self) -> bool:
        """Read more text, doubling the buffer, so that parsing again stays linear; False at the end."""
        self.text = self.text[self.at :]
        self.at = 0
        chunk = self._source.read(max(CHUNK, len(self.text)))
        self.text += chunk
        return bool(chunk)

    def take(self, end: int) -> str:
        """Return the text up to a position and move past it."""
        taken = self.text[self.at : end]
        self.line += taken.count("\n")
        self.at = end
        return taken

    def next_character(self) -> str:
        """Return the next non-blank character without moving past it; empty at the end."""
        while True:
            self.take(_blanks(self.text, self.at))
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def grow(self) -> bool:
        """Read more text if the current record may exceed the buffer; return whether more was read."""
        return len(self.text) - self.at < MAX_RECORD and self.more()

    def value(self) -> tuple[Any, int] | None:
        """Return the value that starts here and its end; None if it is broken."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                is_at_end = error.msg.startswith("Unterminated") or error.pos > len(self.text) - _TOKEN
                if not (is_at_end and self.grow()):
                    return None
            except RecursionError:
                return None
            else:
                if end < len(self.text) or not self.grow():
                    return value, end


class JsonRecords:
    """The records of one JSON file.

    Args:
        text: the file, decoded with ``surrogateescape``, line endings unchanged.
        is_cut: called at the end of the text; returns whether the file was truncated there.
    """

    def __init__(self, text: TextIO, is_cut: Callable[[], bool]) -> None:
        self._buffer = _Buffer(text)
        self._is_cut = is_cut
        self._number = 0
        self._is_open = False  # the text ended inside an array or a response
        self._last_is_valid = True

    def __iter__(self) -> Iterator[FileRecord]:
        """Yield the records in file order; the last record of a truncated file is a broken one."""
        buffer = self._buffer
        are_responses = buffer.next_character() == "{" and self._hits() is not None
        while character := buffer.next_character():
            if character == "[":
                yield from self._array()
            elif are_responses and (start := self._hits()) is not None:
                buffer.take(start)
                yield from self._array()
                yield from self._rest_of_response()
            else:
                yield self._element()
        if (self._is_open or self._is_cut()) and self._last_is_valid:
            yield self._raw("", buffer.line)

    def _array(self) -> Iterator[FileRecord]:
        buffer = self._buffer
        buffer.take(buffer.at + 1)
        while character := buffer.next_character():
            if character == ",":
                buffer.take(buffer.at + 1)
            elif character == "]":
                buffer.take(buffer.at + 1)
                return
            else:
                yield self._element()
        self._is_open = True

    def _hits(self) -> int | None:
        """Position of the array ``hits.hits`` if the object that starts here is an API response."""
        buffer = self._buffer
        if len(buffer.text) - buffer.at < CHUNK:
            buffer.more()
        outer = _member(buffer.text, buffer.at, "hits", "{")
        return None if outer is None else _member(buffer.text, outer, "hits", "[")

    def _rest_of_response(self) -> Iterator[FileRecord]:
        """Skip the rest of a response after its hits: members of the two enclosing objects."""
        buffer = self._buffer
        depth = 2
        while depth and (character := buffer.next_character()):
            if character in "},:":
                depth -= character == "}"
                buffer.take(buffer.at + 1)
            elif (found := buffer.value()) is not None:
                buffer.take(found[1])
            else:
                yield self._broken()
        self._is_open = depth > 0

    def _element(self) -> FileRecord:
        buffer = self._buffer
        found = buffer.value()
        if found is None:
            return self._broken()
        value, end = found
        line = buffer.line
        raw = buffer.take(end)
        self._last_is_valid = True
        return self._raw(_source(raw) if isinstance(value, dict) and "_source" in value else raw, line, is_valid=True)

    def _broken(self) -> FileRecord:
        """Return the unreadable text up to the next valid object as a raw record."""
        buffer = self._buffer
        line = buffer.line
        while (end := self._next_object()) is None:
            if not buffer.grow():
                end = len(buffer.text)
                break
        return self._raw(buffer.take(end).rstrip(" \t\r\n,"), line)

    def _next_object(self) -> int | None:
        for match in _NEXT_OBJECT.finditer(self._buffer.text, self._buffer.at + 1):
            try:
                _DECODER.raw_decode(self._buffer.text, match.end())
            except (json.JSONDecodeError, RecursionError):
                continue
            return match.end()
        return None

    def _raw(self, raw: str, line: int, *, is_valid: bool = False) -> FileRecord:
        self._number += 1
        self._last_is_valid = is_valid
        return raw_record(self._number, line, raw, "json")


def _blanks(text: str, at: int) -> int:
    """The position after any blanks at a position."""
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _member(text: str, at: int, key: str, opening: str) -> int | None:
    """Position of a key's value in the object at a position, if the value starts with `opening`."""
    try:
        at = _blanks(text, at + 1)
        while text.startswith('"', at):
            name, at = _DECODER.raw_decode(text, at)
            at = _blanks(text, _blanks(text, at) + 1)  # past the colon
            if name == key:
                return at if text.startswith(opening, at) else None
            at = _blanks(text, _DECODER.raw_decode(text, at)[1])
            at = _blanks(text, at + 1)  # past the comma
    except (json.JSONDecodeError, RecursionError):
        return None
    return None


def _source(raw: str) -> str:
    """The text of the object under ``_source``; the full text if that is not an object."""
    start = _member(raw, 0, "_source", "{")
    return raw if start is None else raw[start : _DECODER.raw_decode(raw, start)[1]]
