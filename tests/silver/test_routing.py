"""Every row goes to one of complaints, duplicates and quarantine; loading it again changes nothing."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import pytest
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import Settings
from lakehouse.spark.arrow import arrow
from lakehouse.step import Step
from lakehouse.tables.declaration import Table
from silver import routing
from silver.keys import keys
from silver.known_complaints import KnownComplaints
from silver.outcomes import latest_outcomes
from silver.refine import PAYLOAD_SHOWN
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOMES, QUARANTINE

Landed = Callable[[Sequence[str], int], DataFrame]
Generated = Callable[[st.SearchStrategy[Any], int], list[Any]]

GOOD = {
    "Complaint ID": "7",
    "Date received": "2023-05-04",
    "Product": "Mortgage",
    "Issue": "Struggling to pay mortgage",
    "Company": "BANK",
    "State": "FL",
}
ARCHIVE = ("Complaint ID", "Consumer complaint narrative")


def complaint(number: int = 7, **changes: str | None) -> str:
    """A complaint as JSON with changed values; None removes a key."""
    names = {"narrative": "Consumer complaint narrative", "response": "Company response to consumer"}
    changed: dict[str, str | None] = {**GOOD, "Complaint ID": str(number)}
    changed |= {names.get(name, name.replace("_", " ")): value for name, value in changes.items()}
    return json.dumps({name: value for name, value in changed.items() if value is not None})


def bare(number: int, narrative: str) -> str:
    """A row of the narrative archive."""
    return json.dumps(dict(zip(ARCHIVE, (str(number), narrative), strict=True)))


class RoutedBatch:
    """The destination of each row of a batch, and the rows that it adds to each table."""

    def __init__(self, routed: DataFrame, outcomes: DataFrame) -> None:
        self._routed = routed
        self.outcomes_frame = outcomes
        self.rows: list[Row] = routed.orderBy("offset").collect()

    @property
    def destinations(self) -> list[tuple[str, str | None]]:
        return [(row.destination, row.kind) for row in self.rows]

    @cached_property
    def complaints(self) -> list[Row]:
        return routing.complaints(self._routed).collect()

    @cached_property
    def duplicates(self) -> list[Row]:
        return routing.duplicates(self._routed).orderBy("record_id").collect()

    @cached_property
    def quarantine(self) -> list[Row]:
        return routing.quarantine(self._routed).collect()

    @cached_property
    def revisions(self) -> list[Row]:
        return routing.revisions(self._routed).orderBy("version").collect()

    @cached_property
    def narratives(self) -> list[Row]:
        return routing.late_narratives(self._routed).collect()

    @cached_property
    def outcomes(self) -> list[Row]:
        return self.outcomes_frame.collect()


class Silver:
    """The tables of silver in memory, fed batch by batch."""

    def __init__(self, spark: SparkSession, landed: Landed, refining: Step, definition: str) -> None:
        self._landed, self._refining, self._definition = landed, refining, definition
        self._tables = {table: spark.createDataFrame([], table.schema) for table in (COMPLAINTS, NARRATIVES, OUTCOMES)}
        self._known = KnownComplaints()
        self._offset = 0

    def feed(self, *payloads: str) -> RoutedBatch:
        """Route one batch and store its rows."""
        landed = self._landed(payloads, self._offset)
        self._offset += len(payloads)
        known = self._tables
        rows = landed.transform(self._refining).withColumn("refined_at", F.col("ingested_at")).localCheckpoint()
        verdicts = self._known.judge(arrow(keys(rows)))
        routed = routing.routed(rows, routing.verdict_frame(rows.sparkSession, verdicts)).localCheckpoint()
        latest = latest_outcomes(routing.reports(routed), known[OUTCOMES], self._definition).localCheckpoint()
        self._tables = {
            COMPLAINTS: known[COMPLAINTS].unionByName(routing.complaints(routed)),
            NARRATIVES: known[NARRATIVES].unionByName(routing.late_narratives(routed)),
            OUTCOMES: known[OUTCOMES].join(latest, "complaint_id", "left_anti").unionByName(latest),
        }
        return RoutedBatch(routed, latest)

    def stored(self, table: Table) -> list[Row]:
        """A table's rows, ordered by complaint."""
        return self._tables[table].orderBy("complaint_id").collect()


@pytest.fixture
def silver(spark: SparkSession, landed: Landed, refining: Step, session_settings: Settings) -> Silver:
    return Silver(spark, landed, refining, session_settings.silver.successful_resolution)


def test_a_new_complaint_is_stored_and_a_repeat_is_unchanged(silver: Silver) -> None:
    first = silver.feed(complaint(), complaint(), complaint(8))
    assert first.destinations == [("complaints", None), ("duplicates", "unchanged"), ("complaints", None)]
    again = silver.feed(complaint(8), complaint())
    assert again.destinations == [("duplicates", "unchanged")] * 2
    assert {row.record_id for row in again.duplicates} == {"complaints-input/0/3", "complaints-input/0/4"}


def test_each_kind_of_repeat_is_recognized(silver: Silver) -> None:
    silver.feed(complaint(1), complaint(2, narrative="Old"), complaint(3, response="In progress"))
    repeats = {
        complaint(1, response="Closed with explanation"): ("outcome", []),
        complaint(1, narrative="New", response="Closed with explanation"): ("narrative", []),
        complaint(2, Company="OTHER", State="CA"): ("revised", ["company", "state"]),
        complaint(2, narrative="Newer", response="Closed"): ("revised", ["company", "state", "narrative"]),
        complaint(2, State=None, Issue=None): ("unchanged", []),
        complaint(3, response="In progress"): ("unchanged", []),
        complaint(3, Timely_response="Yes"): ("outcome", []),
    }
    found = silver.feed(*repeats)
    assert [(row.kind, row.changed_fields) for row in found.rows] == list(repeats.values())
    assert [row.destination for row in found.rows] == ["duplicates"] * len(repeats)


def test_in_progress_after_a_final_answer_changes_nothing(silver: Silver) -> None:
    silver.feed(complaint(1, response="Closed with explanation"))
    late = silver.feed(complaint(1, response="In progress"))
    assert late.destinations == [("duplicates", "unchanged")]
    assert late.outcomes == []


def test_intake_stays_as_it_was_first_received(silver: Silver) -> None:
    silver.feed(complaint(1, Company="FIRST"))
    revised = silver.feed(complaint(1, Company="SECOND", Date_received="2023-05-06", Date_sent_to_company="2023-05-07"))
    (stored,) = silver.stored(COMPLAINTS)
    assert (stored.company, str(stored.date_received)) == ("FIRST", "2023-05-04")
    assert revised.duplicates[0].changed_fields == ["date_received", "company"]
    assert silver.stored(OUTCOMES)[0].processing_days == 3, "counted from the receipt that is stored"


def test_within_a_batch_the_first_usable_row_is_the_complaint(silver: Silver) -> None:
    found = silver.feed(
        complaint(1, Date_received="soon", response="Closed"),
        complaint(1, Company="FIRST"),
        complaint(1, Company="SECOND", response="Closed with explanation"),
        complaint(1, Company="FIRST"),
    )
    assert found.destinations == [
        ("quarantine", None),
        ("complaints", None),
        ("duplicates", "revised"),
        ("duplicates", "revised"),
    ]
    assert [(row.company, row.version) for row in found.revisions] == [("SECOND", 2), ("FIRST", 3)]
    assert [row.company for row in found.complaints] == ["FIRST"]
    assert [row.company_response for row in found.outcomes] == ["Closed with explanation"], "not the refused row's"


def test_rows_without_a_usable_id_are_refused_and_never_compared(silver: Silver) -> None:
    found = silver.feed("{}", "{}", "no json", complaint(7, Complaint_ID="x"), complaint(7, Complaint_ID=None))
    assert found.destinations == [("quarantine", None)] * 5
    assert len(found.quarantine) == 5
    assert all(row.reasons for row in found.quarantine)


def test_a_late_narrative_joins_its_complaint_and_only_the_first_counts(silver: Silver) -> None:
    found = silver.feed(complaint(1), complaint(2, narrative="Its own"), complaint(3))
    found = silver.feed(bare(1, "First"), bare(1, "Second"), bare(2, "Its own"), bare(2, "Another"), bare(9, "Whose?"))
    assert found.destinations == [
        ("duplicates", "narrative"),
        ("duplicates", "revised"),
        ("duplicates", "unchanged"),
        ("duplicates", "revised"),
        ("quarantine", None),
    ]
    assert [(row.complaint_id, row.narrative, row.narrative_words) for row in found.narratives] == [(1, "First", 1)]
    assert [row.reasons for row in found.quarantine] == [["narrative_without_complaint"]]
    again = silver.feed(bare(1, "First"), bare(1, "Third"))
    assert [row.kind for row in again.rows] == ["revised", "revised"], "the current one is the second"
    assert again.narratives == []


def test_a_narrative_finds_its_complaint_in_the_same_batch_whichever_comes_first(silver: Silver) -> None:
    found = silver.feed(bare(1, "Before"), complaint(1), complaint(2), bare(2, "After"))
    assert [row.destination for row in found.rows] == ["duplicates", "complaints", "complaints", "duplicates"]
    assert {row.complaint_id: row.narrative for row in found.narratives} == {1: "Before", 2: "After"}


def test_an_outcome_in_a_late_narrative_row_is_not_lost(silver: Silver) -> None:
    silver.feed(complaint(1))
    both = json.loads(bare(1, "Late")) | {
        "Company response to consumer": "Closed",
        "Date sent to company": "2023-05-06",
    }
    silver.feed(json.dumps(both))
    (outcome,) = silver.stored(OUTCOMES)
    assert (outcome.response_class, outcome.processing_days) == ("closed", 2)


def test_a_refused_payload_is_truncated_and_waits_for_replay(silver: Silver) -> None:
    (row,) = silver.feed('{"x": "' + "y" * 200_000).quarantine
    assert len(row.payload) == PAYLOAD_SHOWN
    assert row.replayed_at is None
    assert (row.source, row.topic, row.partition, row.offset) == ("kafka", "complaints-input", 0, 0)


NARRATIVE = st.sampled_from([None, None, "One", "Two"])
ANSWER = st.sampled_from([None, None, "In progress", "Closed", "Closed with monetary relief"])
ROWS = st.one_of(
    st.builds(
        complaint,
        st.integers(1, 12),
        narrative=NARRATIVE,
        response=ANSWER,
        Company=st.sampled_from(["BANK", "BANK", "OTHER", None]),
        State=st.sampled_from(["FL", "FL", None, "Mars"]),
        Date_received=st.sampled_from(["2023-05-04", "2023-05-04", "05/04/2023", "soon", None]),
    ),
    st.builds(bare, st.integers(1, 14), st.sampled_from(["One", "Two"])),
    st.sampled_from(["", "no json", "{}", '{"Complaint ID": "5"}']),
)


def expected_destinations(payloads: Iterable[str], known: set[int]) -> list[str]:
    """Where each row of a batch must go: a second, simple implementation."""
    objects = [json.loads(payload) if payload.startswith("{") else {} for payload in payloads]
    usable = [("Product" in each) and each.get("Date received", "soon") != "soon" for each in objects]
    known_after = known | {int(each["Complaint ID"]) for each, ok in zip(objects, usable, strict=True) if ok}
    destinations = []
    for each, ok in zip(objects, usable, strict=True):
        number = int(each.get("Complaint ID", 0))
        if ok:
            destinations.append("duplicates" if number in known else "complaints")
            known = known | {number}
        else:
            joins = set(each) == set(ARCHIVE) and number in known_after
            destinations.append("duplicates" if joins else "quarantine")
    return destinations


def test_invariants_hold_for_random_batches_on_random_state(silver: Silver, generated: Generated) -> None:
    known: set[int] = set()
    payloads = generated(ROWS, 180)
    orphans: set[int] = set()  # narratives that came before their complaints
    for batch in (payloads[:30], payloads[30:100], payloads[100:]):
        found = silver.feed(*batch)
        assert [row.destination for row in found.rows] == expected_destinations(batch, known)
        known |= {row.complaint_id for row in found.complaints}
        waiting = [row.payload for row in found.quarantine if row.reasons == ["narrative_without_complaint"]]
        orphans |= {int(json.loads(payload)["Complaint ID"]) for payload in waiting}
        ids = [row.record_id for part in (found.complaints, found.duplicates, found.quarantine) for row in part]
        assert sorted(ids) == sorted(row.record_id for row in found.rows), "each row once, in one table"
        assert all((row.kind is not None) == (row.destination == "duplicates") for row in found.rows)
        assert {row.complaint_id for row in found.duplicates} <= known
    for table in (COMPLAINTS, NARRATIVES, OUTCOMES):
        stored = [row.complaint_id for row in silver.stored(table)]
        assert len(stored) == len(set(stored)), f"{table.name} has a complaint once"
        assert set(stored) <= known
    own = {row.complaint_id for row in silver.stored(COMPLAINTS) if row.narrative is not None}
    assert own.isdisjoint(row.complaint_id for row in silver.stored(NARRATIVES))
    before = {table: silver.stored(table) for table in (COMPLAINTS, NARRATIVES, OUTCOMES)}
    stored_ids = {row.complaint_id for row in before[COMPLAINTS]}
    again = silver.feed(*payloads)
    assert [row.destination for row in again.rows] == expected_destinations(payloads, stored_ids)
    assert again.complaints == [], "nothing is new the second time"
    assert silver.stored(COMPLAINTS) == before[COMPLAINTS]
    narratives = silver.stored(NARRATIVES)
    assert [row for row in narratives if row in before[NARRATIVES]] == before[NARRATIVES]
    assert {row.complaint_id for row in narratives if row not in before[NARRATIVES]} <= orphans


def test_loading_the_same_rows_again_produces_only_unchanged_repeats(silver: Silver) -> None:
    batch = [complaint(number, narrative="One", response="Closed") for number in range(1, 6)]
    silver.feed(*batch)
    again = silver.feed(*batch)
    assert again.destinations == [("duplicates", "unchanged")] * 5
    assert (again.complaints, again.narratives, again.outcomes) == ([], [], [])


def test_routed_rows_have_the_columns_of_their_tables(silver: Silver) -> None:
    found = silver.feed(complaint(1), complaint(1), "no json", bare(1, "Late"))
    tables = {"complaints": COMPLAINTS, "duplicates": DUPLICATES, "quarantine": QUARANTINE, "narratives": NARRATIVES}
    for name, table in tables.items():
        (row, *_) = getattr(found, name)
        assert list(row.asDict()) == table.column_names
