"""Values as people read them in a terminal, and as JSON."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

WHOLE = 1000  # from here on, a number is shown without decimals
_KEPT = "\n\t"  # control characters that lay out text


def as_text(value: object) -> str:
    """Return a value as the text of a cell; None is empty, and nested values are JSON.

    Control characters become U+FFFD: a payload may hold anything, also sequences that control the terminal.
    """
    match value:
        case None:
            return ""
        case str():
            return printable(value)
        case bytes() | bytearray():
            return f"0x{value.hex()}"
        case bool() | Mapping() | list() | tuple() | set() | frozenset():
            return printable(as_json(value))
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """Replace the control characters of a text, except line breaks and tabs."""
    return "".join(c if c.isprintable() or c in _KEPT else "\N{REPLACEMENT CHARACTER}" for c in text)


def short_number(value: float | None) -> str:
    """Return three significant digits, without an exponent for large numbers; None and NaN are empty."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.3g}"


def as_json(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON: NaN and infinities, which JSON does not have, are null, and bytes are Base64."""
    return json.dumps(_for_json(value), default=str, ensure_ascii=False, allow_nan=False, indent=indent)


def _for_json(value: object) -> Any:  # noqa: ANN401 - whatever json.dumps accepts
    match value:
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {_key(key): _for_json(below) for key, below in value.items()}
        case Iterable() if not isinstance(value, str):
            return [_for_json(below) for below in value]
        case _:
            return value


def _key(key: object) -> str | int | float | bool | None:
    return key if isinstance(key, str | int | float | bool | None) else str(key)
