"""Outcomes: the facts derived from an answer, and how later reports update them."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from lakehouse.settings import Settings
from silver.outcomes import REPORTED, has_outcome, in_order, latest_outcomes, outcome_reports, with_outcome_facts
from silver.tables import OUTCOMES

Frame = Callable[[list[dict[str, Any]], str], DataFrame]
FACTS = ("is_final", "is_relief", "is_monetary_relief", "successful_resolution")
TEXT_OF = {
    "explanation": "Closed with explanation",
    "monetary_relief": "Closed with monetary relief",
    "in_progress": "In progress",
    None: None,
}
DAY = "2024-05-03"
ROW = (
    "complaint_id bigint, date_received date, first_received date, refined_at timestamp, arrived_at timestamp, "
    "record_id string, file string, partition int, offset bigint, "
    "date_sent_to_company date, company_response string, company_public_response string, "
    "timely_response boolean, consumer_disputed boolean, response_class string, product_family string, issue string, "
    "company string, state string, submitted_via string, is_synthetic boolean"
)


@pytest.fixture
def definition(session_settings: Settings) -> str:
    return session_settings.silver.successful_resolution


def row(answer: str | None = None, position: int = 1, complaint_id: int = 1, **fields: object) -> dict[str, Any]:
    """A refined row of a complaint, with the class of its answer."""
    return {
        "complaint_id": complaint_id,
        "date_received": DAY,
        "first_received": DAY,
        "refined_at": f"2024-06-0{position} 00:00:00",
        "arrived_at": f"2024-06-0{position} 00:00:00",
        "record_id": f"record-{position}",
        "offset": position,
        "company_response": TEXT_OF[answer],
        "response_class": answer,
        "product_family": "Mortgage",
        "company": "BANK",
        **fields,
    }


class Updates:
    """Applies batches of rows, one after another, to a table of outcomes."""

    def __init__(self, spark: SparkSession, frame: Frame, definition: str) -> None:
        self._frame, self._definition = frame, definition
        self._known = {}  # type: dict[int, dict[str, Any]]
        self._spark = spark

    def batch(self, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """Apply one batch; return the rows that changed."""
        columns = ", ".join(f"{column.name} {column.type}" for column in OUTCOMES.columns)
        stored = self._frame(list(self._known.values()), columns)
        refined = self._frame(list(rows), ROW).transform(with_outcome_facts(self._definition))
        latest = latest_outcomes(refined.where(has_outcome()).transform(outcome_reports), stored, self._definition)
        assert latest.columns == OUTCOMES.column_names
        changed = [found.asDict() for found in latest.collect()]
        self._known |= {found["complaint_id"]: found for found in changed}
        return changed


@pytest.fixture
def updates(spark: SparkSession, frame: Frame, definition: str) -> Updates:
    return Updates(spark, frame, definition)


def test_every_response_class_has_its_facts(frame: Frame, definition: str) -> None:
    classes = {  # is_final, is_relief, is_monetary_relief, successful when not disputed, when disputed
        "monetary_relief": (True, True, True, True, False),
        "non_monetary_relief": (True, True, False, True, False),
        "relief": (True, True, False, True, False),
        "explanation": (True, False, False, False, False),
        "no_relief": (True, False, False, False, False),
        "closed": (True, False, False, False, False),
        "untimely": (True, False, False, False, False),
        "in_progress": (False, None, None, None, None),
        None: (False, None, None, None, None),
    }
    records = [
        {"response_class": name, "consumer_disputed": disputed, **dict(zip(FACTS, (*facts, no), strict=True))}
        for name, (*facts, no, yes) in classes.items()
        for disputed, no in ((None, no), (False, no), (True, yes))
    ]
    schema = "response_class string, consumer_disputed boolean, " + ", ".join(f"{name} boolean" for name in FACTS)
    expected = frame(records, f"{schema}, date_received date, date_sent_to_company date")
    derived = expected.drop(*FACTS).transform(with_outcome_facts(definition)).select(expected.columns)
    assert_df_equality(derived, expected, ignore_row_order=True, ignore_nullable=True)


def test_processing_days_count_from_receipt_to_sending(frame: Frame, definition: str) -> None:
    rows = [row(date_sent_to_company=day) for day in ("2024-05-03", "2024-05-13", "2024-05-02", None)]
    found = frame(rows, ROW).transform(with_outcome_facts(definition)).collect()
    assert sorted((each.processing_days for each in found), key=str) == [-1, 0, 10, None]


def test_the_definition_of_success_is_a_setting(frame: Frame) -> None:
    (found,) = (
        frame([row("explanation", timely_response=True)], ROW)
        .transform(with_outcome_facts("timely_response"))
        .collect()
    )
    assert found.successful_resolution is True


def test_a_row_reports_an_outcome_when_any_of_the_five_fields_is_present(frame: Frame) -> None:
    values = dict(zip(REPORTED, ("2024-05-03", "Closed", "None of it", False, False), strict=True))
    bare = dict.fromkeys(("company_response", "response_class"))
    rows = [row() | bare | {name: value} for name, value in values.items()]
    assert frame([*rows, row() | bare], ROW).where(has_outcome()).count() == len(REPORTED) == 5


def test_a_new_complaint_gets_every_reported_field(updates: Updates) -> None:
    (outcome,) = updates.batch(row("explanation", date_sent_to_company="2024-05-06", timely_response=True))
    assert outcome == {
        "complaint_id": 1,
        "date_sent_to_company": dt.date(2024, 5, 6),
        "company_response": "Closed with explanation",
        "company_public_response": None,
        "timely_response": True,
        "consumer_disputed": None,
        "response_class": "explanation",
        "is_final": True,
        "is_relief": False,
        "is_monetary_relief": False,
        "processing_days": 3,
        "successful_resolution": False,
        "complaint_received": dt.date(2024, 5, 3),
        "complaint_product": "Mortgage",
        "complaint_issue": None,
        "complaint_company": "BANK",
        "complaint_state": None,
        "complaint_channel": None,
        "complaint_is_synthetic": None,
        "record_id": "record-1",
        "observed_at": outcome["observed_at"],
        "reported_at": outcome["observed_at"],
    }


def test_complaint_columns_keep_the_values_reported_first(updates: Updates) -> None:
    updates.batch(row("in_progress", date_sent_to_company="2024-05-06"))
    later: dict[str, Any] = {
        "product_family": "Student loan",
        "company": "OTHER",
        "state": "TX",
        "date_received": "2024-01-01",
    }
    (outcome,) = updates.batch(row("explanation", 2, **later))
    assert (outcome["complaint_product"], outcome["complaint_company"]) == ("Mortgage", "BANK")
    assert outcome["complaint_state"] == "TX", "not reported before"
    assert outcome["complaint_received"] == dt.date(2024, 5, 3)


def test_a_row_without_outcome_fields_produces_no_outcome(updates: Updates) -> None:
    assert updates.batch(row(None)) == []


def test_nothing_is_written_when_nothing_changed(updates: Updates) -> None:
    first = row("explanation", date_sent_to_company="2024-05-06", timely_response=True)
    assert len(updates.batch(first)) == 1
    assert updates.batch(first | {"record_id": "again"}, row(None, 2), row("explanation", 3)) == []


@pytest.mark.parametrize("in_one_batch", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_a_final_answer_stays_whenever_in_progress_arrives(updates: Updates, *, in_one_batch: bool, late: bool) -> None:
    final = row("monetary_relief", timely_response=False, date_sent_to_company="2024-05-06")
    earlier = row("in_progress", timely_response=True, company_public_response="We answer soon")
    first, second = (final, earlier) if late else (earlier, final)
    batches = [[first, second | {"offset": 2}]] if in_one_batch else [[first], [second]]
    outcome = [updates.batch(*batch) for batch in batches][-1][0]
    assert (outcome["response_class"], outcome["is_final"], outcome["timely_response"]) == (
        "monetary_relief",
        True,
        False,
    )
    assert outcome["company_response"] == "Closed with monetary relief"
    assert outcome["company_public_response"] == "We answer soon", "a value that only the earlier row reported is kept"
    assert outcome["successful_resolution"] is True
    assert outcome["processing_days"] == 3


def test_a_missing_field_never_erases_a_known_value(updates: Updates) -> None:
    updates.batch(row("monetary_relief", timely_response=True, date_sent_to_company="2024-05-06"))
    (outcome,) = updates.batch(row(None, consumer_disputed=True))
    assert (outcome["company_response"], outcome["timely_response"]) == ("Closed with monetary relief", True)
    assert (outcome["processing_days"], outcome["consumer_disputed"]) == (3, True)
    assert outcome["successful_resolution"] is False, "disputed now"


def test_a_later_report_of_one_field_counts_without_an_answer(updates: Updates) -> None:
    updates.batch(row("monetary_relief", consumer_disputed=False))
    (outcome,) = updates.batch(row(None, consumer_disputed=True))
    assert (outcome["consumer_disputed"], outcome["is_final"]) == (True, True)


def test_the_response_class_always_matches_the_answer(updates: Updates) -> None:
    updates.batch(row("in_progress"))
    (outcome,) = updates.batch(row(None, company_response="Closed in a new way"))
    assert (outcome["company_response"], outcome["response_class"]) == ("Closed in a new way", None)


def test_the_last_of_several_final_answers_wins_with_its_record_id(updates: Updates) -> None:
    (outcome,) = updates.batch(row("explanation", 1), row("monetary_relief", 3), row("explanation", 2))
    assert (outcome["response_class"], outcome["record_id"]) == ("monetary_relief", "record-3")
    assert outcome["observed_at"] == dt.datetime(2024, 6, 3, tzinfo=dt.UTC).astimezone().replace(tzinfo=None)


def test_processing_days_use_the_stored_receipt_date_not_a_revised_one(updates: Updates) -> None:
    revised = row("explanation", date_received="2024-04-01", date_sent_to_company="2024-05-06")
    (outcome,) = updates.batch(revised)
    assert outcome["processing_days"] == 3


def test_each_complaint_of_a_batch_has_its_own_outcome(updates: Updates) -> None:
    rows = [row("explanation", complaint_id=number) for number in (1, 2, 3)]
    assert sorted(found["complaint_id"] for found in updates.batch(*rows)) == [1, 2, 3]
    (changed,) = updates.batch(row("monetary_relief", complaint_id=2), row("explanation", complaint_id=3))
    assert changed["complaint_id"] == 2


def test_rows_of_a_complaint_are_ordered_by_arrival_then_by_position(frame: Frame) -> None:
    rows = [
        ("b", "2024-05-01 00:00:00", "b.csv", 2),
        ("a", "2024-05-01 00:00:00", "b.csv", 1),
        ("c", "2024-05-02 00:00:00", "a.csv", 1),
        ("e", "2024-05-03 00:00:00", None, 8),
        ("d", "2024-05-03 00:00:00", None, 7),
    ]
    names = ("record_id", "reported_at", "file", "offset")
    columns = "record_id string, reported_at timestamp, file string, partition int, offset bigint, complaint_id bigint"
    records = [dict(zip(names, each, strict=True)) | {"complaint_id": 1} for each in rows]
    ordered = frame(records, columns).transform(in_order).orderBy("position").collect()
    assert [(each.record_id, each.position) for each in ordered] == list(zip("abcde", range(1, 6), strict=True))


def test_across_partitions_the_later_kafka_timestamp_wins_whatever_the_offset(frame: Frame) -> None:
    columns = "record_id string, reported_at timestamp, file string, partition int, offset bigint, complaint_id bigint"
    newer = {"record_id": "in/2/0", "reported_at": "2024-05-02 00:00:00", "partition": 2, "offset": 0}
    older = {"record_id": "in/0/900", "reported_at": "2024-05-01 00:00:00", "partition": 0, "offset": 900}
    records = [{**each, "complaint_id": 1} for each in (newer, older)]
    ordered = frame(records, columns).transform(in_order).orderBy("position").collect()
    assert [each.record_id for each in ordered] == ["in/0/900", "in/2/0"]


def test_an_older_report_read_late_adds_fields_and_replaces_nothing(updates: Updates) -> None:
    updates.batch(row("monetary_relief", 3, timely_response=True))
    older = row("explanation", 1, timely_response=False, company_public_response="Ours", refined_at="2024-06-09")
    (outcome,) = updates.batch(older)
    assert (outcome["response_class"], outcome["timely_response"]) == ("monetary_relief", True)
    assert (outcome["company_public_response"], outcome["record_id"]) == ("Ours", "record-3")
    assert updates.batch(older) == []
