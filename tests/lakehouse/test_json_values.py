"""JSON is JSON whatever the values are."""

import json
from datetime import date
from decimal import Decimal

import pytest

from lakehouse.json_values import as_json


def refuse(name: str) -> None:
    """Called by the parser for NaN, Infinity and -Infinity."""
    pytest.fail(f"{name} is not JSON")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        ([float("inf"), {"x": (float("-inf"), 1.5)}], [None, {"x": [None, 1.5]}]),
        (Decimal("1.50"), 1.5),
        (Decimal("NaN"), None),
        (b"\xff\x00", "/wA="),
        ({date(2024, 2, 29): 1, 2: 3}, {"2024-02-29": 1, "2": 3}),
        (date(2024, 2, 29), "2024-02-29"),
        ("é\n", "é\n"),
    ],
)
def test_json_has_only_what_json_knows(value: object, expected: object) -> None:
    assert json.loads(as_json(value), parse_constant=refuse) == expected
