"""One record of a file, the input of bronze."""

from dataclasses import dataclass
from typing import Literal

BYTE_ORDER_MARK = "\ufeff"
MAX_RECORD = 16 * 1024 * 1024  # characters; anything longer is treated as a broken record
MAX_NAMES = 1_000  # distinct keys of a JSON file that are collected


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One row of a CSV file or one element of a JSON file, as received.

    Attributes:
        number: position among the file's records, from 1; unique, unlike the line (JSON on one line).
        line: physical line on which the record starts, from 1.
        payload: a JSON element's text, a CSV row as a JSON object of its cells, or a broken record's raw text.
        payload_bytes: the record's bytes if they are not UTF-8 text; otherwise None.
        source: the kind of file.
    """

    number: int
    line: int
    payload: str | None
    payload_bytes: bytes | None
    source: Literal["csv", "json"]


def key_of(name: str) -> str:
    """Return the name of a column or key for comparison with known names: lower case, letters and digits only."""
    return "".join(filter(str.isalnum, name.lower()))


def is_text(value: str) -> bool:
    """Whether text that was decoded with ``surrogateescape`` was valid UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def raw_record(number: int, line: int, raw: str, source: Literal["csv", "json"]) -> FileRecord:
    """Return a record with its raw text as payload, or its bytes if they are not UTF-8."""
    if is_text(raw):
        return FileRecord(number, line, raw, None, source)
    return FileRecord(number, line, None, raw.encode(errors="surrogateescape"), source)
