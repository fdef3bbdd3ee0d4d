"""A row is compared with what is known of its complaint, whatever its age and however rows are split into batches."""

import random
from typing import Any

import pyarrow as pa
import pytest

from silver.known_complaints import COMPARED, NOTHING_WRITTEN, KnownComplaints, Verdict, Written
from silver.outcomes import REPORTED

TYPES = {
    "record_id": pa.string(),
    "complaint_id": pa.int64(),
    "is_usable": pa.bool_(),
    "is_bare": pa.bool_(),
    "arrived_at": pa.int64(),
    "file": pa.string(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "received": pa.int32(),
    "intake": pa.list_(pa.int32()),
    "narrative": pa.int64(),
    "outcome": pa.list_(pa.int32()),
    "is_final": pa.bool_(),
    "in_progress": pa.bool_(),
}
RESPONSE = REPORTED.index("company_response")


def row(complaint_id: int, at: int, *, company: int = 1, response: int = 0, **changes: object) -> dict[str, Any]:
    """The key of a row that arrived at a time: hashes of its company, and of its company's response."""
    intake, outcome = [3] * len(COMPARED), [0] * len(REPORTED)
    intake[COMPARED.index("company")], outcome[RESPONSE] = company, response
    return {
        "record_id": f"in/0/{at}",
        "complaint_id": complaint_id,
        "is_usable": True,
        "is_bare": False,
        "arrived_at": at,
        "file": "",
        "partition": 0,
        "offset": at,
        "received": 19_000,
        "intake": intake,
        "narrative": 0,
        "outcome": outcome,
        "is_final": response != 0,
        "in_progress": False,
    } | changes


def bare(complaint_id: int, at: int, narrative: int = 5) -> dict[str, Any]:
    """The key of a row of the narrative archive."""
    nothing = [0] * len(COMPARED)
    return row(complaint_id, at, is_usable=False, is_bare=True, narrative=narrative, intake=nothing, received=0)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), pa.schema(list(TYPES.items())))


def judged(known: KnownComplaints, *rows: dict[str, Any], written: Written = NOTHING_WRITTEN) -> dict[str, Verdict]:
    return {verdict.record_id: verdict for verdict in known.judge(table(*rows), written)}


def kinds(verdicts: dict[str, Verdict]) -> list[str | None]:
    return [verdicts[record].kind for record in sorted(verdicts, key=lambda record: int(record.rpartition("/")[2]))]


def test_a_new_complaint_and_a_refused_row_need_no_verdict() -> None:
    known = KnownComplaints()
    assert judged(known, row(1, 1), row(2, 2, is_usable=False), row(0, 3, is_usable=False), bare(9, 4)) == {}
    assert len(known) == 1


def test_each_row_is_compared_with_all_that_came_before_it() -> None:
    known = KnownComplaints()
    rows = [
        row(1, 1),
        row(1, 2, response=7),
        row(1, 3, response=7),
        row(1, 4, company=2),
        bare(1, 5),
        bare(1, 6),
        bare(1, 7, narrative=9),
    ]
    expected = ["outcome", "unchanged", "revised", "narrative", "unchanged", "revised"]
    assert kinds(judged(known, *rows)) == expected
    one_by_one = KnownComplaints()
    assert kinds({k: v for each in rows for k, v in judged(one_by_one, each).items()}) == expected


def test_the_order_of_arrival_decides_not_the_order_of_the_rows() -> None:
    verdicts = judged(KnownComplaints(), row(1, 9, response=7), row(1, 2), bare(1, 1))
    assert {record: verdict.kind for record, verdict in verdicts.items()} == {
        "in/0/9": "outcome",
        "in/0/1": "narrative",
    }


def test_a_missing_field_is_no_change_and_a_changed_one_is_named() -> None:
    known = KnownComplaints()
    judged(known, row(1, 1))
    (verdict,) = judged(known, row(1, 2, company=0)).values()
    assert (verdict.kind, verdict.changed) == ("unchanged", 0)
    (verdict,) = judged(known, row(1, 3, company=8)).values()
    assert (verdict.kind, verdict.changed) == ("revised", 1 << COMPARED.index("company"))


def test_a_revised_intake_is_the_known_one_from_then_on_and_counts_versions() -> None:
    known = KnownComplaints()
    rows = [row(1, 1), row(1, 2, company=8), row(1, 3, company=8), row(1, 4, company=0, narrative=5), row(1, 5)]
    verdicts = {record: v for each in rows for record, v in judged(known, each).items()}
    found = [(v.kind, v.version, v.is_complete, v.brings_revision) for v in verdicts.values()]
    assert found == [
        ("revised", 2, True, True),
        ("unchanged", 1, True, False),
        ("narrative", 2, False, False),
        ("revised", 3, False, True),
    ]


def test_an_intake_that_arrived_earlier_is_no_revision() -> None:
    known = KnownComplaints()
    judged(known, row(1, 5))
    (verdict,) = judged(known, row(1, 3, company=8)).values()
    assert (verdict.kind, verdict.version, verdict.brings_revision) == ("revised", 1, False)


def test_rows_read_again_leave_the_newest_version_known() -> None:
    known = KnownComplaints()
    rows = [row(1, 1), row(1, 2, company=8), row(1, 2, company=9, record_id="in/1/2")]
    first = judged(known, *rows)
    written = Written(
        {"in/0/1": "complaints", "in/0/2": "duplicates", "in/1/2": "duplicates"},
        revisions={record: verdict.version for record, verdict in first.items()},
    )
    assert not any(v.brings_revision for v in judged(known, *rows, written=written).values())
    (verdict,) = judged(known, row(1, 9, company=7)).values()
    assert verdict.version == 4
    (verdict,) = judged(known, row(1, 10, company=7)).values()
    assert verdict.kind == "unchanged"


def test_an_older_report_replaces_nothing_and_in_progress_never_a_final_answer() -> None:
    known = KnownComplaints()
    judged(known, row(1, 5, response=7))
    assert kinds(judged(known, row(1, 3, response=8))) == ["unchanged"]
    assert kinds(judged(known, row(1, 6, response=8, is_final=False, in_progress=True))) == ["unchanged"]
    assert kinds(judged(known, row(1, 7, response=8))) == ["outcome"]


def test_rows_that_are_in_silver_keep_their_place_and_only_what_is_missing_is_brought() -> None:
    places = {"in/0/1": "complaints", "in/0/2": "duplicates", "in/0/3": "quarantine"}
    written = Written(places, reports=frozenset(["in/0/2"]))  # type: ignore[arg-type]
    rows = [row(1, 1, response=6), row(1, 2, response=7), row(1, 3, response=8), row(1, 4, response=9)]
    verdicts = judged(KnownComplaints(), *rows, written=written)
    found = {record: (v.destination, v.is_placed, v.brings_outcome) for record, v in verdicts.items()}
    assert found == {
        "in/0/1": ("complaints", True, True),
        "in/0/2": ("duplicates", True, False),
        "in/0/3": ("quarantine", True, False),
        "in/0/4": ("duplicates", False, True),
    }


@pytest.mark.parametrize("repeated", [[], [row(1, 2)]], ids=["alone", "repeated"])
def test_a_new_complaint_whose_outcome_is_reported_already_brings_it_no_second_time(
    repeated: list[dict[str, Any]],
) -> None:
    written = Written(reports=frozenset(["in/0/1"]))
    verdict = judged(KnownComplaints(), row(1, 1, response=6), *repeated, written=written)["in/0/1"]
    assert (verdict.destination, verdict.is_placed, verdict.brings_outcome) == ("complaints", False, False)
    assert verdict.kind is None


def test_a_row_that_is_in_silver_stays_there_though_the_rules_refuse_it_now() -> None:
    written = Written({"in/0/1": "complaints"})
    (verdict,) = judged(KnownComplaints(), row(1, 1, is_usable=False), written=written).values()
    assert (verdict.destination, verdict.is_placed) == ("complaints", True)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_read_from_silver_equals_what_was_remembered(seed: int) -> None:
    dice = random.Random(seed)

    def drawn(at: int) -> dict[str, Any]:
        if dice.random() < 0.5:
            return bare(dice.randrange(40), at, narrative=dice.choice([5, 11]))
        return row(dice.randrange(40), at, response=dice.choice([0, 7, 9]), company=dice.choice([0, 1, 2]))

    rows = [drawn(at) for at in range(300)]
    known = KnownComplaints()
    verdicts: dict[str, Verdict] = {}
    for start in range(0, len(rows), 37):
        verdicts |= judged(known, *rows[start : start + 37])
    orphans = {each["record_id"] for each in rows if each["is_bare"]} - verdicts.keys()
    new = [each for each in rows if each["record_id"] not in verdicts.keys() | orphans]
    brought = {record for record, verdict in verdicts.items() if verdict.brings_outcome}
    reports = [each for each in rows if each["record_id"] in brought or (each in new and any(each["outcome"]))]
    late = [each for each in rows if each["record_id"] in verdicts and verdicts[each["record_id"]].brings_narrative]
    revised = [
        each | {"version": verdicts[each["record_id"]].version}
        for each in rows
        if each["record_id"] in verdicts and verdicts[each["record_id"]].brings_revision
    ]
    intake = ["complaint_id", "received", "intake", "narrative", "arrived_at"]
    versions = pa.array([each["version"] for each in revised], pa.int32())
    stored = KnownComplaints.stored(
        table(*new).select(intake),
        table(*late).select(["complaint_id", "narrative"]),
        table(*revised).select(intake).append_column("version", versions),
        table(*reports),
        table(),
    )
    again = [each | {"arrived_at": 1_000 + at, "record_id": f"in/1/{at}"} for at, each in enumerate(rows)]
    assert kinds(judged(stored, *again)) == kinds(judged(known, *again))
