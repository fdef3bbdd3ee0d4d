"""Each bronze row becomes one refined row with all columns of silver's tables; none is dropped."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import DataFrame, Row

from lakehouse.step import Step
from silver.refine import STAMPED
from silver.tables import COMPLAINTS, OUTCOMES, QUARANTINE

Landed = Callable[[Sequence[str]], DataFrame]
COMPLAINT = {
    "Complaint ID": "7",
    "Date received": "05/04/2023",
    "Product": "Credit reporting",
    "Issue": "Improper use of your report",
    "Company": "EQUIFAX, INC.",
    "State": "florida",
    "ZIP code": "330XX",
    "Tags": "Older American, Servicemember",
    "Submitted via": "web",
    "Consumer complaint narrative": "Call me!",
    "Date sent to company": "05/10/2023",
    "Company response to consumer": "Closed with monetary relief",
    "Timely response?": "Yes",
}


def complaint(**changes: Any) -> str:  # noqa: ANN401
    changed = COMPLAINT | {name.replace("_", " "): value for name, value in changes.items()}
    return json.dumps({name: value for name, value in changed.items() if value is not None})


def refine(landed: Landed, refining: Step, *payloads: str) -> list[Row]:
    return landed(payloads).transform(refining).orderBy("offset").collect()


def test_a_complaint_gets_all_columns_of_silver(landed: Landed, refining: Step) -> None:
    (row,) = refine(landed, refining, complaint())
    expected = {
        "complaint_id": 7,
        "date_received": dt.date(2023, 5, 4),
        "product": "Credit reporting",
        "product_family": "Credit reporting",
        "state": "FL",
        "zip_code": "330XX",
        "zip3": "330",
        "submitted_via": "Web",
        "is_servicemember": True,
        "is_older_american": True,
        "received_weekday": 5,
        "narrative_words": 2,
        "exclamations": 1,
        "response_class": "monetary_relief",
        "processing_days": 6,
        "successful_resolution": True,
        "record_id": "complaints-input/0/0",
        "reasons": [],
        "warnings": [],
        "bare_narrative": False,
    }
    assert {name: row[name] for name in expected} == expected


def test_refined_rows_have_all_columns_of_their_tables(landed: Landed, refining: Step) -> None:
    columns = set(landed([]).transform(refining).columns)
    made_later = {*STAMPED, "replayed_at"}
    assert {*COMPLAINTS.column_names, *OUTCOMES.column_names, *QUARANTINE.column_names} - made_later <= columns


def test_every_row_is_returned_once_whatever_it_contains(landed: Landed, refining: Step) -> None:
    payloads = [
        complaint(),
        complaint(),
        "",
        "[]",
        "no json",
        complaint()[:-9],
        "{}",
        complaint(Date_received="soon"),
        complaint(Complaint_ID="x"),
    ]
    rows = refine(landed, refining, *payloads)
    assert [row.payload for row in rows] == [None, None, *payloads[2:]], "kept only for rows that may be refused"
    assert [bool(row.reasons) for row in rows] == [False, False, *[True] * 7]


def test_a_narrative_archive_row_is_recognized_by_having_only_id_and_narrative(landed: Landed, refining: Step) -> None:
    archive = {"Complaint ID": "7", "Consumer complaint narrative": "Call me!"}
    rows = {
        "from the archive": (json.dumps(archive), True, []),
        "with other columns empty": (json.dumps({**dict.fromkeys(COMPLAINT, ""), **archive}), True, []),
        "without an id": (json.dumps(archive | {"Complaint ID": None}), False, ["complaint_id_missing"]),
        "with an invalid id": (json.dumps(archive | {"Complaint ID": "x"}), False, ["complaint_id_not_numeric"]),
        "with an invalid date": (
            json.dumps(archive | {"Date received": "soon"}),
            False,
            ["date_received_unreadable"],
        ),
        "without a narrative": ('{"Complaint ID": "7"}', False, ["date_received_missing"]),
        "a complaint without its date": (complaint(Date_received=None), False, ["date_received_missing"]),
    }
    found = refine(landed, refining, *(payload for payload, _, _ in rows.values()))
    for (name, (_, bare, reasons)), row in zip(rows.items(), found, strict=True):
        assert (row.bare_narrative, row.reasons) == (bare, reasons), name
