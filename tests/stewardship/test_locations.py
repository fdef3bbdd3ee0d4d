"""A payload belongs to the complaint that it names, whatever else it contains."""

import json

import pytest

from stewardship.locations import names

MINE = 7_000_001
HUGE = "9" * 5000  # more digits than Python converts to a number


@pytest.mark.parametrize(
    ("payload", "is_mine"),
    [
        (json.dumps({"Complaint ID": MINE}), True),
        (json.dumps({"complaint_id": f"00{MINE}"}), True),
        (json.dumps({"complaint_id": str(MINE + 1), "of": MINE}), False),
        (f'{{"complaint_id": {MINE}, "of": {HUGE}}}', True),
        (f'{{"complaint_id": {HUGE}, "of": {MINE}}}', False),
        (f'{{"complaint_id": "{HUGE}"}}', False),
        ('{"complaint_id": "7000001", "narrative": "broke', True),
        ("[" * 100_000 + str(MINE), True),
        (f'\ufeff{{"complaint_id": {MINE}}}', True),
        (f'{{"before": null, "after": {{"complaint_id": "{MINE}"}}, "op": "c"}}', True),
        (f'{{"product": "Mortgage", "zip_code": "{MINE}"}}', False),
    ],
)
def test_a_payload_belongs_to_the_complaint_that_it_names(payload: str, *, is_mine: bool) -> None:
    assert names(MINE, payload, None) is is_mine
    assert names(MINE, None, payload.encode()) is is_mine
    assert names(MINE, None, payload.encode("utf-16-le")) is is_mine
