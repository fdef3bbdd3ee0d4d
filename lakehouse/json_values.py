"""Values as JSON, whatever they are: what this project prints, logs, posts and stores as JSON is valid JSON."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any


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
