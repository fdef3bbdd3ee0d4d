"""Parse a single payload in Python; Spark parses batches (`silver.parse`)."""

import json
from typing import Any

# Numbers stay text: Python refuses to convert one with thousands of digits. NaN and Infinity are missing values.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)


def cells_of(payload: str) -> dict[str, Any] | None:
    """The cells of a payload, with numbers as text; None when it is not a JSON object."""
    try:
        cells = _DECODER.decode(payload)
    except (json.JSONDecodeError, RecursionError):
        return None
    return cells if isinstance(cells, dict) else None
