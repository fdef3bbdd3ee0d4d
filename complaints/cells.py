"""Values as people read them in a terminal."""

import math
from collections.abc import Mapping

from lakehouse.json_values import as_json

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
