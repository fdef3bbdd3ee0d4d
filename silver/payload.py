"""A payload read in Python, where a single one is looked at; batches are read by Spark (`silver.parse`)."""

import json
from typing import Any

# Numbers stay text: one may have thousands of digits, which Python refuses to turn into a number.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def cells_of(payload: str) -> dict[str, Any] | None:
    """The cells of a payload, numbers as their text; None when it is no JSON object."""
    try:
        cells = _DECODER.decode(payload)
    except (json.JSONDecodeError, RecursionError):
        return None
    return cells if isinstance(cells, dict) else None
