"""Read the records of a JSON file, as their original text: an array, lines, API responses, or one object."""

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, TextIO

from bronze.json_shape import BLANKS, DECODER, ENOUGH, HIT, holds_complaints, is_complaint, members
from bronze.records import BYTE_ORDER_MARK, MAX_NAMES, MAX_RECORD, FileRecord, raw_record

CHUNK = 1 << 20  # characters
_TOKEN = 16  # characters: longest literal, number's sign or escape that the end of the buffer can cut
_SEPARATORS = re.compile(r"[ \t\r\n,]*")
_NEXT_OBJECT = re.compile(r"(?:\}\s*,?|\[|\n)\s*(?=\{)")


class _Buffer:
    """A window on the text, starting at the current record."""

    def __init__(self, text: TextIO) -> None:
        self._source = text
        self.text = text.read(CHUNK).lstrip(BYTE_ORDER_MARK)
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

    def skip(self) -> None:
        """Move past one character that is not a line end."""
        self.at += 1

    def look_ahead(self) -> None:
        """Read more text if little is left; what begins here is then in the buffer as far as `CHUNK`."""
        if len(self.text) - self.at < CHUNK:
            self.more()

    def next_character(self, skipped: re.Pattern[str] = BLANKS) -> str:
        """Return the next character that is not to be skipped without moving past it; empty at the end."""
        while True:
            self.take(skipped.match(self.text, self.at).end())  # type: ignore[union-attr] # it may be empty
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
                value, end = DECODER.raw_decode(self.text, self.at)
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

    Complaints may be wrapped: in an array, in an object such as ``{"data": […]}`` or an API's response, or in an array
    of those. What else such an object holds is skipped.

    Args:
        text: the file, decoded with ``surrogateescape``, line endings unchanged.
        is_cut: called at the end of the text; returns whether the file was truncated there.
        known_keys: the keys (`key_of`) of the known fields.

    Attributes:
        names: the keys of the records so far, at most about `MAX_NAMES`.
    """

    def __init__(self, text: TextIO, is_cut: Callable[[], bool], known_keys: Collection[str]) -> None:
        self.names: dict[str, None] = {}
        self._buffer = _Buffer(text)
        self._is_cut = is_cut
        self._known_keys = known_keys
        self._number = 0
        self._is_open = False  # the text ended inside an array or an object around complaints
        self._last_is_valid = True

    def __iter__(self) -> Iterator[FileRecord]:
        """Yield the records in file order; the last record of a truncated file is a broken one."""
        while character := self._buffer.next_character():
            if character == "[":
                self._buffer.skip()
                yield from self._values("]")
            else:
                yield from self._values("")
        if (self._is_open or self._is_cut()) and self._last_is_valid:
            yield self._raw("", self._buffer.line)

    def _values(self, closing: str) -> Iterator[FileRecord]:
        """Yield the records of values up to the closing bracket; if there is none, up to an array or the end."""
        buffer = self._buffer
        is_first, are_wrapped = True, False  # decided by the first object, as a look ahead at each would take long
        while character := buffer.next_character(_SEPARATORS):
            if character == closing:
                buffer.skip()
                return
            if character == "[" and not closing:
                return
            if (is_first or are_wrapped or character == "[") and self._holds_complaints():
                are_wrapped |= character == "{"
                yield from self._inside()
            else:
                yield self._element()
            is_first &= character != "{"
        self._is_open |= closing != ""

    def _inside(self) -> Iterator[FileRecord]:
        """Yield the records of an array of complaints, or of an object around complaints; skip its other members."""
        buffer = self._buffer
        if buffer.next_character() == "[":
            buffer.skip()
            yield from self._values("]")
            return
        buffer.skip()
        while character := buffer.next_character():
            if character in "},:":
                buffer.skip()
                if character == "}":
                    return
            elif character in "[{" and self._holds_complaints():
                yield from self._inside()
            elif character == "{" and self._is_complaint():
                yield self._element()
            elif (found := buffer.value()) is not None:
                buffer.take(found[1])
            else:
                yield self._broken()
        self._is_open = True

    def _holds_complaints(self) -> bool:
        self._buffer.look_ahead()
        return holds_complaints(self._buffer.text, self._buffer.at, self._known_keys)

    def _is_complaint(self) -> bool:
        self._buffer.look_ahead()
        return is_complaint(self._buffer.text, self._buffer.at, self._known_keys, ENOUGH)

    def _element(self) -> FileRecord:
        buffer = self._buffer
        found = buffer.value()
        if found is None:
            return self._broken()
        value, end = found
        line = buffer.line
        raw = buffer.take(end)
        if isinstance(value, dict):
            if HIT in value:
                raw, value = _hit(raw, value)
            if not value.keys() <= self.names.keys() and len(self.names) < MAX_NAMES:
                self.names.update(dict.fromkeys(value))
        return self._raw(raw, line, is_valid=True)

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
                DECODER.raw_decode(self._buffer.text, match.end())
            except (json.JSONDecodeError, RecursionError):
                continue
            return match.end()
        return None

    def _raw(self, raw: str, line: int, *, is_valid: bool = False) -> FileRecord:
        self._number += 1
        self._last_is_valid = is_valid
        return raw_record(self._number, line, raw, "json")


def _hit(raw: str, value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text and the members of the object under `HIT`; those of the whole if that is not an object."""
    start = next((at for key, at in members(raw, 0) if key == HIT), 0)
    if not raw.startswith("{", start):
        return raw, value
    return raw[start : DECODER.raw_decode(raw, start)[1]], value[HIT]
