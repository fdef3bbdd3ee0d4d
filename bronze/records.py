"""One record of a file as it is handed to bronze."""

from dataclasses import dataclass
from typing import Literal

MAX_RECORD = 16 * 1024 * 1024  # characters; whatever claims to be longer is taken for a broken record


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One row of a CSV file or one element of a JSON file, as received.

    Attributes:
        number: place among the records of its file, from 1; unique there, as the line is not (JSON on one line).
        line: physical line on which the record begins, from 1.
        payload: the text: an element's own, or a CSV row as a JSON object of its cells; a broken record's raw text.
        payload_bytes: the record's bytes when they are not UTF-8 text; otherwise None.
        source: the kind of file.
    """

    number: int
    line: int
    payload: str | None
    payload_bytes: bytes | None
    source: Literal["csv", "json"]


def is_text(value: str) -> bool:
    """Whether text that was decoded with ``surrogateescape`` was UTF-8 throughout."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def raw_record(number: int, line: int, raw: str, source: Literal["csv", "json"]) -> FileRecord:
    """The record whose payload is its own raw text, or its bytes when they are not UTF-8."""
    if is_text(raw):
        return FileRecord(number, line, raw, None, source)
    return FileRecord(number, line, None, raw.encode(errors="surrogateescape"), source)
