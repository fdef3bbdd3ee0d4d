"""Look ahead in JSON text: whether a value is a complaint, or holds complaints as an API's response does.

The text is the buffered beginning of a value, so it may end anywhere.
"""

import json
import re
from collections.abc import Collection, Iterator

from bronze.records import key_of

HIT = "_source"  # the key of Elasticsearch under which each hit of a response has its record
_DEPTH = 6  # of nested objects and arrays; a response of the CFPB's search API has its hits at depth 2
ENOUGH = 4  # known fields of an object that is a complaint under a key of another object, as in {"7100101": {…}}
_NO_HITS = re.compile(r"\[\s*\]")
_ROWS_AS_ARRAYS = re.compile(r"\[\s*\[")
BLANKS = re.compile(r"[ \t\r\n]*")
# Numbers stay text: they may have thousands of digits, and their values are not used here.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def after_blanks(text: str, at: int) -> int:
    """Return the position after any blanks at a position."""
    match = BLANKS.match(text, at)
    return match.end() if match else at


def members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Yield key and position of the value for each member of the object at a position, as far as it can be read."""
    try:
        at = after_blanks(text, at + 1)
        while text.startswith('"', at):
            key, at = DECODER.raw_decode(text, at)
            at = after_blanks(text, after_blanks(text, at) + 1)  # past the colon
            yield key, at
            at = after_blanks(text, DECODER.raw_decode(text, at)[1])
            at = after_blanks(text, at + 1)  # past the comma
    except (json.JSONDecodeError, RecursionError):
        return


def holds_complaints(text: str, at: int, known_keys: Collection[str], depth: int = _DEPTH) -> bool:
    """Whether the value at a position is an array of complaints, or an object or array around complaints.

    An object with a known key of its own is a complaint, whatever else it holds. The hits of an API's response count
    even if there are none.
    """
    if depth == 0:
        return False
    if text.startswith("[", at):
        first = after_blanks(text, at + 1)
        return is_complaint(text, first, known_keys) or holds_complaints(text, first, known_keys, depth - 1)
    if not text.startswith("{", at) or is_complaint(text, at, known_keys):
        return False
    return any(
        is_complaint(text, value, known_keys, ENOUGH)
        or (key == "hits" and _NO_HITS.match(text, value) is not None)
        or holds_complaints(text, value, known_keys, depth - 1)
        for key, value in members(text, at)
    )


def is_complaint(text: str, at: int, known_keys: Collection[str], fewest: int = 1) -> bool:
    """Whether the value at a position is an object with at least that many known fields, or a hit of a response."""
    if not text.startswith("{", at):
        return False
    named = [(key, value) for key, value in members(text, at) if key == HIT or key_of(key) in known_keys]
    is_hit = any(key == HIT for key, _ in named)
    return is_hit or sum(text[value : value + 1] not in ("{", "[") for _, value in named) >= fewest


def foreign_keys(text: str, known_keys: Collection[str]) -> list[str] | None:
    """Return the keys of the first object of a file if the file's beginning, as far as it is read, has no complaint.

    Args:
        text: the beginning of a JSON file.
        known_keys: the keys (`key_of`) of the known fields.

    Returns:
        None if there is a complaint, or if there may be one in the value that the text's end cuts.
    """
    keys: list[str] | None = None
    at = after_blanks(text, 0)
    while at < len(text):
        if text[at] in "[,]":
            at = after_blanks(text, at + 1)
            continue
        found = list(members(text, at)) if text[at] == "{" else []
        if keys is None:
            keys = [key for key, _ in found]
        if is_complaint(text, at, known_keys) or holds_complaints(text, at, known_keys):
            return None
        has_rows_as_arrays = bool(found) and _ROWS_AS_ARRAYS.match(text, found[-1][1]) is not None
        try:
            at = after_blanks(text, DECODER.raw_decode(text, at)[1])
        except (json.JSONDecodeError, RecursionError):
            return keys if has_rows_as_arrays else None
    return keys
