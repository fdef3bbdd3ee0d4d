"""Every layout parses to the same 18 fields; unreadable values become null and never raise."""

import datetime as dt
import json
import string
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row

from silver.fields import FIELDS, MISSING
from silver.parse import BLANKS, parsed

Landed = Callable[[Sequence[str]], DataFrame]
Generated = Callable[[st.SearchStrategy[Any], int], list[Any]]

RECORD = {
    "Date received": "2019-03-04",
    "Product": "Mortgage",
    "Sub-product": "FHA mortgage",
    "Issue": "Trouble during payment process",
    "Sub-issue": "Escrow",
    "Consumer complaint narrative": 'They said "no".\nTwice, for {$12.00}.',
    "Company public response": "Company believes it acted appropriately",
    "Company": "BANK, N.A.",
    "State": "FL",
    "ZIP code": "03301",
    "Tags": "Servicemember",
    "Consumer consent provided?": "Consent provided",
    "Submitted via": "Web",
    "Date sent to company": "2019-03-05",
    "Company response to consumer": "Closed with explanation",
    "Timely response?": "Yes",
    "Consumer disputed?": "No",
    "Complaint ID": "3170000",
}
BY_DISPLAY = {field.display: field for field in FIELDS}
RAW = {BY_DISPLAY[name].name: value for name, value in RECORD.items()}
TYPED = {
    "complaint_id": 3170000,
    "date_received": dt.date(2019, 3, 4),
    "date_sent_to_company": dt.date(2019, 3, 5),
    "timely_response": True,
    "consumer_disputed": False,
}
API_NAMES = {
    "narrative": "complaint_what_happened",
    "timely_response": "timely",
    "consumer_consent": "consumer_consent_provided",
}
US_DATES = {"Date received": "03/04/2019", "Date sent to company": "03/05/2019"}


def read(landed: Landed, payloads: Sequence[str]) -> list[Row]:
    return landed(payloads).transform(parsed).orderBy("offset").collect()


def named(name_of: Callable[[str], str], record: dict[str, str] = RECORD) -> str:
    return json.dumps({name_of(name): value for name, value in record.items()})


def api_name(display: str) -> str:
    return API_NAMES.get(BY_DISPLAY[display].name, BY_DISPLAY[display].name)


def test_every_layout_of_one_complaint_gives_the_same_fields(landed: Landed) -> None:
    shuffled = list(RECORD.items())
    Random(1).shuffle(shuffled)
    layouts = {
        "as the CFPB exports it": named(str),
        "snake_case": named(lambda name: name.strip("?").lower().replace(" ", "_").replace("-", "_")),
        "as the API names it": named(api_name),
        "silver's own names": named(lambda name: BY_DISPLAY[name].name),
        "capitals": named(str.upper),
        "with extra spaces and quotes": named(lambda name: f' "{name.replace(" ", "  ")}":\t'),
        "in another order": json.dumps(dict(shuffled)),
        "with a byte order mark in its first name": named(lambda n: "\ufeff" * (n == "Date received") + n),
        "with two of them, read as Latin-1": named(lambda n: "ï»¿ï»¿" * (n == "Date received") + n),
        "with invisible spaces in names and values": named(
            lambda n: f"\u200b{n}", {n: f"\ufeff{v}\u200b" for n, v in RECORD.items()}
        ),
        "with an index in front": json.dumps({"": "17", **RECORD}),
        "with custom columns": json.dumps({**RECORD, "has_narrative": True, "score": 0.5, "Notes": None}),
        "as in 2014": named(lambda name: name.removesuffix(" to consumer"), RECORD | US_DATES),
    }
    for layout, row in zip(layouts, read(landed, list(layouts.values())), strict=True):
        assert row.typed.asDict() == TYPED, layout
        assert [row.raw[name] for name in RAW if "date" not in name] == [
            RAW[name] for name in RAW if "date" not in name
        ], layout


def test_a_layout_without_some_columns_gives_null_for_them(landed: Landed) -> None:
    missing = {"Consumer complaint narrative", "Tags", "Consumer consent provided?", "Consumer disputed?"}
    (row,) = read(landed, [json.dumps({name: value for name, value in RECORD.items() if name not in missing})])
    assert {BY_DISPLAY[name].name for name in missing} == {
        name for name, value in row.raw.asDict().items() if not value
    }
    assert row.typed.consumer_disputed is None


def test_all_date_formats_are_parsed_and_nothing_else(landed: Landed) -> None:
    day = dt.date(2019, 3, 4)
    dates: dict[str, dt.date | None] = {
        "2019-03-04": day,
        "2019-3-4": day,
        "03/04/2019": day,
        "3/4/2019": day,
        "03/04/19": day,
        "3/4/19": day,
        "2019-03-04T23:59:59.000Z": day,
        "2019-03-04T22:44:46-05:00": day,
        "2019-03-04 12:00:00": day,
        "03/04/2019 12:00:00 AM": day,
        " 2019-03-04 ": day,
        "20190304": day,
        "2019/03/04": day,
        "2019/3/4": day,
        "1551657600000": day,
        "1551743999999": day,
        "12/31/11": dt.date(2011, 12, 31),
        "2024-02-29": dt.date(2024, 2, 29),
        "2023-02-29": None,
        "2023-02-30": None,
        "02/30/2023": None,
        "13/04/2019": None,
        "2019": None,
        "2019-03": None,
        "20190230": None,
        "2019/13/04": None,
        "1551657600": day,
        "155165760": None,
        "15516576000": None,
        "2019/3/4 12:00:00": day,
        "20190304T120000Z": day,
        "3/4/2019, 12:00:00 AM": day,
        "15516576000000": None,
        "03-04-2019": day,
        "3-4-19": day,
        "4-Mar-19": day,
        "04-MAR-2019": day,
        "4 March 2019": day,
        "04MAR2019": day,
        "04MAR2019:00:00:00": day,
        "March 4, 2019": day,
        "Mar. 4 2019": day,
        "Sept 4, 2019": dt.date(2019, 9, 4),
        "43528": day,
        "43528.0": day,
        "30-Feb-2019": None,
        "4-Marz-2019": None,
        "Mayor 4, 2019": None,
        "4-Mar": None,
        "39999": None,
        "50000": None,
        "13-04-2019": None,
        "0/0/0": None,
        "yesterday": None,
        "²/4/2019": None,
    }
    rows = read(landed, [json.dumps({"Date received": text}) for text in dates])
    assert {text: row.typed.date_received for text, row in zip(dates, rows, strict=True)} == dates
    assert all(row.raw.date_received is not None for row in rows), "the raw text is kept"


def test_only_whole_numbers_of_at_most_18_digits_are_ids(landed: Landed) -> None:
    ids: dict[str, int | None] = {
        "3170000": 3170000,
        "0003170000": 3170000,
        "9" * 18: 10**18 - 1,
        "0": 0,  # refused by an expectation, not by the parser
        "9" * 40: None,
        "3170000.0": 3170000,
        "'3170000": 3170000,
        "#3170000": 3170000,
        '="3170000"': 3170000,
        "##3170000": None,
        "3170000#": None,
        "3,170,000": 3170000,
        "-5": None,
        "+5": None,
        "5.1": None,
        "1e3": None,
        "3 170 000": None,
        "3,17,0000": None,
        "1.2345678E7": 12345678,
        "1.2345678E6": None,
        "1.2E18": None,
        "1.23E+07": None,
        "0x1F": None,
        "٣": None,
        "abc": None,
    }
    rows = read(landed, [json.dumps({"Complaint ID": text}) for text in ids])
    assert {text: row.typed.complaint_id for text, row in zip(ids, rows, strict=True)} == ids


def test_json_numbers_and_booleans_are_read_as_text(landed: Landed) -> None:
    payload = '{"complaint_id": 3170000, "timely": true, "consumer_disputed": false, "zip_code": 33009}'
    huge = '{"complaint_id": ' + "9" * 40 + ', "zip_code": 1.50}'
    plain, with_huge = read(landed, [payload, huge])
    assert (plain.typed.complaint_id, plain.typed.timely_response, plain.typed.consumer_disputed) == (
        3170000,
        True,
        False,
    )
    assert plain.raw.zip_code == "33009"
    assert (with_huge.raw.complaint_id, with_huge.typed.complaint_id) == ("9" * 40, None)


def test_all_spellings_of_booleans_are_parsed(landed: Landed) -> None:
    spellings = ["yes", "no", "true", "false", "y", "n", "1", "0", "YES", "False", "t", "f", "1.0", "0.0", "maybe", "2"]
    rows = read(landed, [json.dumps({"Timely response?": f" {spelling} "}) for spelling in spellings])
    assert [row.typed.timely_response for row in rows] == [True, False] * 7 + [None, None]


def test_a_text_that_means_missing_becomes_null_in_every_field(landed: Landed) -> None:
    words = [*MISSING, *map(str.upper, MISSING), "None", "NaN", " NA ", "\u00a0", "\r\n", "\ufeff"]
    rows = read(landed, [json.dumps({field.display: word for field in FIELDS}) for word in words])
    found = {word: set(row.raw.asDict().values()) for word, row in zip(words, rows, strict=True)}
    assert found == {word: {None} for word in words}


def test_json_values_without_text_become_null(landed: Landed) -> None:
    values = ["null", "NaN", "Infinity", "-Infinity", "+Infinity", "-INF", "1e999", '""']
    rows = read(landed, [f'{{"Tags": {value}, "ZIP code": "33009"}}' for value in values])
    assert [(row.raw.tags, row.raw.zip_code) for row in rows] == [(None, "33009")] * len(values)


def test_a_value_that_only_contains_such_a_text_is_kept(landed: Landed) -> None:
    values = ["None.", "N.A.", "BANK, NA", "NA Bank", "Nancy", "Infinity", "...", "- no", "0", "\\"]
    rows = read(landed, [json.dumps({field.display: value for field in FIELDS}) for value in values])
    assert [set(row.raw.asDict().values()) for row in rows] == [{value} for value in values]


def test_an_object_or_an_array_as_a_value_is_kept_as_json_text(landed: Landed) -> None:
    (row,) = read(landed, ['{"Product": {"name": "Mortgage"}, "Issue": ["a", "b"]}'])
    assert (row.raw["product"], row.raw.issue) == ('{"name":"Mortgage"}', '["a","b"]')


def test_a_repeated_key_is_listed_twice(landed: Landed) -> None:
    rows = read(landed, ['{"State": "FL", "state": "CA"}', '{"State": "FL", "State": "CA"}'])
    assert [row["keys"] for row in rows] == [["state", "state"]] * 2


def test_a_payload_that_is_not_an_object_has_no_keys_and_no_fields(landed: Landed) -> None:
    payloads = ["", "no json", "[1]", '"text"', "42", "null", '{"a": 1', "[" * 5000, '{"a":' * 5000, "{\0}"]
    for payload, row in zip(payloads, read(landed, payloads), strict=True):
        assert row["keys"] is None, payload[:20]
        assert set(row.raw.asDict().values()) | set(row.typed.asDict().values()) == {None}
        assert row.payload == payload


CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = (
    st.text(CHARACTERS, min_size=1, max_size=30)
    .map(lambda text: text.strip(BLANKS))
    .filter(lambda text: text.lower().strip('"') not in (*MISSING, "infinity", "-infinity"))
)
DATES = st.dates(dt.date(2011, 1, 1), dt.date(2099, 12, 31))
DATE_FORMS = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%Y-%m-%dT%H:%M:%S.000Z")
VALUES = {"bigint": st.integers(0, 10**18 - 1), "date": DATES, "boolean": st.booleans(), "string": TEXTS}
COMPLAINTS = st.fixed_dictionaries({}, optional={field.name: VALUES[field.type] for field in FIELDS})
LAYOUTS = st.tuples(st.integers(), st.sampled_from(DATE_FORMS))


def disguised(name: str, random: Random) -> str:
    """A name with random case, and punctuation between its letters."""
    marks = string.punctuation + " \t\u00a0"
    letters = (
        random.choice([letter.upper(), letter]) + random.choice(["", "", random.choice(marks)]) for letter in name
    )
    return "".join(letters)


def serialized(complaint: dict[str, Any], random: Random, date_form: str) -> str:
    """A complaint in one layout: random order and names, with extra columns."""

    def text_of(value: object) -> object:
        if isinstance(value, bool):
            return random.choice([value, str(value), "Yes" if value else "No"])
        if isinstance(value, int):
            return random.choice([value, str(value)])
        return value.strftime(date_form) if isinstance(value, dt.date) else value

    keys = {field.name: disguised(random.choice(field.keys), random) for field in FIELDS}
    entries = [(keys[name], text_of(value)) for name, value in complaint.items()]
    entries += [("Unnamed: 0", 7), ("has_narrative", value) if (value := random.random()) > 0.5 else ("my note", None)]
    random.shuffle(entries)
    return json.dumps(dict(entries), ensure_ascii=random.random() > 0.5)


def test_parsing_restores_a_serialized_complaint_in_any_layout(landed: Landed, generated: Generated) -> None:
    written = generated(st.tuples(COMPLAINTS, LAYOUTS), 400)
    rows = read(landed, [serialized(complaint, Random(seed), form) for complaint, (seed, form) in written])
    for (complaint, _), row in zip(written, rows, strict=True):
        values = {**row.raw.asDict(), **row.typed.asDict()}
        assert {name: value for name, value in values.items() if value is not None} == complaint


def test_no_text_breaks_parsing_or_gets_lost(landed: Landed, generated: Generated) -> None:
    payloads = generated(st.text(CHARACTERS, max_size=60) | st.text('{}[]":,\\u019ae ', max_size=40), 400)
    assert [row.payload for row in read(landed, payloads)] == payloads
