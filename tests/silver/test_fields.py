"""The 18 fields are declared once, and every name in every layout maps to one of them."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silver.fields import BY_NAME, FIELDS, INTAKE, OUTCOME, normalized

DATA = Path(__file__).resolve().parents[1] / "data"
API = (
    "complaint_id date_received product sub_product issue sub_issue complaint_what_happened company state zip_code "
    "tags consumer_consent_provided submitted_via date_sent_to_company company_response company_public_response timely "
    "consumer_disputed"
)
BIGQUERY = (
    "date_received product subproduct issue subissue consumer_complaint_narrative company_public_response company_name "
    "state zip_code tags consumer_consent_provided submitted_via date_sent_to_company company_response_to_consumer "
    "timely_response consumer_disputed complaint_id"
)
HUGGING_FACE = (
    "Date Received,Product,Sub Product,Issue,Sub Issue,Complaint Text,Company Public Response,Company,State,Zip Code,"
    "Tags,Consumer Consent Provided,Submitted via,Date Sent To Company,Company Response To Consumer,Timely Response,"
    "Consumer Disputed,Complaint ID"
)


def names_in(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(json.load(file)[0]) if path.suffix == ".json" else next(csv.reader(file))


def fields_of(names: list[str]) -> list[str]:
    return [field.name for name in names for field in FIELDS if normalized(name) in field.keys]


def test_there_are_18_fields_each_known_at_intake_or_with_the_outcome() -> None:
    assert len(BY_NAME) == len(FIELDS) == 18
    assert sorted((*INTAKE, *OUTCOME), key=FIELDS.index) == list(FIELDS)
    assert [field.name for field in OUTCOME] == [
        "date_sent_to_company",
        "company_response",
        "company_public_response",
        "timely_response",
        "consumer_disputed",
    ]


def test_no_name_maps_to_two_fields() -> None:
    keys = [key for field in FIELDS for key in field.keys]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_every_name_in_every_file_is_known(path: Path) -> None:
    names = names_in(path)
    assert len(fields_of(names)) == len(set(fields_of(names))) == len(names)
    assert len(names) in {14, 18}


@pytest.mark.parametrize("names", [API.split(), BIGQUERY.split(), HUGGING_FACE.split(",")])
def test_the_names_of_the_api_and_of_public_copies_are_known(names: list[str]) -> None:
    assert sorted(fields_of(names)) == sorted(BY_NAME)


def test_a_narrative_may_be_called_a_complaint() -> None:
    assert fields_of(["Complaint", "Complaint_ID"]) == ["narrative", "complaint_id"]


@given(st.sampled_from(FIELDS), st.randoms(use_true_random=False))
def test_case_spaces_and_punctuation_of_a_name_are_ignored(field: object, random: object) -> None:
    name = field.display  # type: ignore[attr-defined]
    words = "".join(letter if letter.isalnum() else random.choice(["", " ", "_", "-", "?"]) for letter in name)  # type: ignore[attr-defined]
    assert normalized(words.swapcase()) in field.keys  # type: ignore[attr-defined]
