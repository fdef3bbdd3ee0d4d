"""Generated complaints are assembled from real ones; each kind of message has the requested share."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lakehouse.errors import ComplaintsError
from silver.fields import INTAKE, OUTCOME
from streaming.kafka.generator import LIFE, MALFORMED, Generator, Message, Mix, Row, read_rows

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
START = date(2026, 3, 1)
FIRST_ID = 50_000_000
OUTCOMES = {field.display for field in OUTCOME}
LIFE_SHARES = {**asdict(LIFE), "narratives": 1.0}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(sorted(DATA.glob("20*")))


def generator(rows: list[Row], known: int = 0, seed: int = 7, **shares: Any) -> Generator:  # noqa: ANN401
    narratives = shares.pop("narratives", None)
    mix = Mix(**shares)
    return Generator(rows, mix, seed=seed, first_id=FIRST_ID, known=known, narratives=narratives, start=START)


def made(rows: list[Row], count: int, **shares: Any) -> list[Message]:  # noqa: ANN401
    return list(islice(generator(rows, **shares), count))


def values(messages: list[Message], *kinds: str) -> list[dict[str, Any]]:
    return [json.loads(message.value) for message in messages if message.kind in kinds]


def test_rows_of_every_layout_use_display_names(rows: list[Row]) -> None:
    assert len(rows) == 40 + 10 + 20 + 38 + 40 + 12
    displays = {field.display for field in (*INTAKE, *OUTCOME)}
    assert all(row.keys() <= displays for row in rows)
    assert all({"Complaint ID", "Product", "Company", "Date received"} <= row.keys() for row in rows)
    for row in rows:
        assert date(2011, 12, 1) <= date.fromisoformat(row["Date received"] or "") <= date(2023, 12, 31)
        assert not {"", "None", "N/A"} & set(row.values())


def test_all_complete_rows_of_the_samples_are_read() -> None:
    assert len(read_rows(sorted((ROOT / "samples").glob("*.gz")))) == 13_678


def test_the_same_seed_gives_the_same_messages(rows: list[Row]) -> None:
    shares = {"malformed": 0.1, "duplicates": 0.1, "late": 0.1, "updated": 0.1}
    assert made(rows, 2000, **shares) == made(rows, 2000, **shares)
    other = generator(rows, seed=8)
    assert list(islice(other, 50)) != made(rows, 50)


def test_a_new_complaint_has_intake_only_and_an_id_of_its_own(rows: list[Row]) -> None:
    messages = made(rows, 500)
    complaints = values(messages, "new")
    assert [complaint["Complaint ID"] for complaint in complaints] == [str(FIRST_ID + at) for at in range(500)]
    assert [message.key.decode() for message in messages] == [complaint["Complaint ID"] for complaint in complaints]
    for complaint in complaints:
        assert complaint.keys() == {field.display for field in INTAKE}
        assert complaint["Date received"] == "2026-03-01"


def test_structure_and_narrative_come_from_real_rows_of_one_product(rows: list[Row]) -> None:
    structures = {(row["Product"], row.get("Issue"), row["Company"], row.get("ZIP code", "")) for row in rows}
    narratives = {(row["Product"], row.get("Consumer complaint narrative")) for row in rows}
    complaints = values(made(rows, 1000), "new")
    assert {(c["Product"], c["Issue"], c["Company"], c["ZIP code"]) for c in complaints} <= structures
    with_text = [c for c in complaints if c["Consumer complaint narrative"]]
    assert {(c["Product"], c["Consumer complaint narrative"].strip()) for c in with_text} <= narratives
    assert all(c["Consumer consent provided?"] == "Consent provided" for c in with_text)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_narratives(rows: list[Row], share: float) -> None:
    complaints = values(made(rows, 3000, narratives=share), "new")
    assert sum(bool(c["Consumer complaint narrative"]) for c in complaints) / 3000 == pytest.approx(share, abs=0.03)


def test_the_default_share_of_narratives_is_that_of_the_rows(rows: list[Row]) -> None:
    expected = sum("Consumer complaint narrative" in row for row in rows) / len(rows)
    complaints = values(made(rows, 3000), "new")
    assert sum(bool(c["Consumer complaint narrative"]) for c in complaints) / 3000 == pytest.approx(expected, abs=0.03)


def test_each_kind_of_message_has_its_share_and_is_counted(rows: list[Row]) -> None:
    mix: dict[str, Any] = {
        "malformed": 0.05,
        "duplicates": 0.1,
        "late": 0.15,
        "updated": 0.2,
        "revised": 0.1,
        "narrated": 0.02,
    }
    every = generator(rows, narratives=1.0, **mix)
    kinds = [message.kind for message in islice(every, 10_000)]
    expected = {"malformed": 500, "duplicate": 1000, "late": 1500, "updated": 2000, "revised": 1000, "narrated": 200}
    for kind, count in (expected | {"new": 3800}).items():
        assert kinds.count(kind) == every.counts[kind] == pytest.approx(count, rel=0.15)  # type: ignore[index,arg-type]


def test_a_duplicate_repeats_an_earlier_message_exactly(rows: list[Row]) -> None:
    seen: set[tuple[bytes, bytes]] = set()
    for message in made(rows, 3000, duplicates=0.3, late=0.1):
        assert ((message.key, message.value) in seen) == (message.kind == "duplicate")
        seen.add((message.key, message.value))


def test_a_late_complaint_was_received_30_to_400_days_ago(rows: list[Row]) -> None:
    days = [START - date.fromisoformat(c["Date received"]) for c in values(made(rows, 3000, late=0.5), "late")]
    assert timedelta(days=30) <= min(days) < timedelta(days=40)
    assert timedelta(days=390) < max(days) <= timedelta(days=400)


def test_an_update_brings_the_outcome_of_an_earlier_complaint_once(rows: list[Row]) -> None:
    messages = made(rows, 3000, updated=0.4, late=0.1)
    intake = {c["Complaint ID"]: c for c in values(messages, "new", "late")}
    updates = values(messages, "updated")
    assert len({update["Complaint ID"] for update in updates}) == len(updates) > 1000
    for update in updates:
        outcome = {name: update.pop(name) for name in OUTCOMES}
        assert update == intake[update["Complaint ID"]]
        assert outcome["Company response to consumer"] not in {"", "In progress"}
        assert update["Date received"] <= outcome["Date sent to company"] <= START.isoformat()


def test_malformed_messages_cycle_through_all_kinds(rows: list[Row]) -> None:
    messages = made(rows, 2 * len(MALFORMED), malformed=1.0)
    by_name = dict(zip(MALFORMED, (message.value for message in messages), strict=False))
    assert [message.key for message in messages] == [b"%d" % (FIRST_ID + at) for at in range(2 * len(MALFORMED))]
    for name in ("not_json", "truncated", "nul", "empty"):
        with pytest.raises(ValueError, match="line 1"):
            json.loads(by_name[name])
    assert by_name["nul"].count(b"\0") == 1
    with pytest.raises(UnicodeDecodeError):
        by_name["wrong_encoding"].decode()
    assert len(json.loads(by_name["array"])) == 2  # of an array with one object the object is read
    assert len(json.loads(by_name["id_of_40_digits"])["Complaint ID"]) == 40
    assert "\0" in json.loads(by_name["escaped_nul"])["Consumer complaint narrative"]
    assert "Complaint ID" not in json.loads(by_name["missing_id"])
    assert json.loads(by_name["id_not_numeric"])["Complaint ID"].startswith("CF-")
    assert json.loads(by_name["date_in_future"])["Date received"] > START.isoformat()
    assert json.loads(by_name["date_before_2011"])["Date received"] < "2011"
    assert isinstance(json.loads(by_name["object_as_field"])["Consumer complaint narrative"], dict)
    assert [key for key, _ in json.loads(by_name["duplicated_key"], object_pairs_hook=list)].count("Complaint ID") == 2
    assert by_name["empty"] == b""


def test_a_revision_corrects_the_intake_of_an_earlier_complaint(rows: list[Row]) -> None:
    messages = made(rows, 2000, revised=0.3)
    intake = {c["Complaint ID"]: c for c in values(messages, "new")}
    revisions = values(messages, "revised")
    assert all(revised["Complaint ID"] in intake for revised in revisions)
    changed = [r for r in revisions if r != intake[r["Complaint ID"]]]
    assert len(changed) > 0.8 * len(revisions) > 300  # another row may have the same structure
    assert {r["Consumer complaint narrative"] for r in changed} <= {
        c["Consumer complaint narrative"] for c in intake.values()
    }


def test_a_late_narrative_comes_once_to_a_complaint_that_had_none(rows: list[Row]) -> None:
    messages = made(rows, 3000, narrated=0.05, narratives=1.0)
    intake = {c["Complaint ID"]: c for c in values(messages, "new")}
    narrated = values(messages, "narrated")
    assert len({c["Complaint ID"] for c in narrated}) == len(narrated) > 100
    for complaint in narrated:
        assert complaint["Consumer complaint narrative"]
        assert not intake[complaint["Complaint ID"]]["Consumer complaint narrative"]


def test_what_comes_again_is_drawn_evenly_from_all_complaints_known_before_too(rows: list[Row]) -> None:
    known = 20_000
    first = list(generator(rows, known=known, **LIFE_SHARES).known_messages())
    assert [int(message.key) for message in first] == list(range(FIRST_ID - known, FIRST_ID))
    again = [m for m in made_after(rows, known, 10_000) if m.kind in {"updated", "duplicate", "revised", "narrated"}]
    tenths = Counter((int(message.key) - FIRST_ID + known) * 10 // known for message in again)
    assert all(tenths[tenth] == pytest.approx(len(again) / 12.5, rel=0.3) for tenth in range(10))
    intake = {message.key: json.loads(message.value) for message in first}
    for message in again:
        if message.kind == "updated" and message.key in intake:
            update = json.loads(message.value)
            assert {name: update[name] for name in intake[message.key]} == intake[message.key]


def made_after(rows: list[Row], known: int, count: int) -> list[Message]:
    return list(islice(generator(rows, known=known, **LIFE_SHARES), count))


def test_iterating_again_continues(rows: list[Row]) -> None:
    def ids(messages: Iterator[Message]) -> list[int]:
        return [int(message.key) for message in islice(messages, 3)]

    every = generator(rows)
    assert ids(iter(every)) + ids(iter(every)) == list(range(FIRST_ID, FIRST_ID + 6))


@pytest.mark.parametrize(
    ("given", "shares", "message"),
    [
        (slice(None), {"malformed": 0.6, "late": 0.6}, "in sum too"),
        (slice(None), {"duplicates": -0.1}, "between 0 and 1"),
        (slice(None), {"narratives": 1.5}, "between 0 and 1"),
        (slice(0), {}, "0 rows"),
        (slice(1), {"narratives": 0.5}, "1 rows without a narrative"),
    ],
)
def test_invalid_arguments_are_rejected(rows: list[Row], given: slice, shares: dict[str, float], message: str) -> None:
    with pytest.raises(ComplaintsError, match=message):
        made(rows[given], 1, **shares)
