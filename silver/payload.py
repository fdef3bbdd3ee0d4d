"""Parse a single payload in Python; Spark parses batches (`silver.parse`)."""

import json
from typing import Any

from silver.fields import FIELDS, normalized

# Numbers stay text: Python refuses to convert one with thousands of digits. NaN and Infinity are missing values.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)
_KEYS = frozenset(key for field in FIELDS for key in field.keys)


def cells_of(payload: str) -> dict[str, Any] | None:
    """The cells of a payload, with numbers as text.

    None when the payload is not a JSON object with a field of a complaint; such a payload may still hold a complaint in
    a form that only `silver.parse` reads.
    """
    try:
        cells = _DECODER.decode(payload)
    except (json.JSONDecodeError, RecursionError):
        return None
    return cells if isinstance(cells, dict) and any(normalized(key) in _KEYS for key in cells) else None
