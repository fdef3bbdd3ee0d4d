"""Every rule of conf/expectations.yaml has a failing row, and no complete real complaint is refused."""

import csv
import datetime as dt
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.settings import CONF
from silver.expectations import PARSED, Expectation, broken_counts, judged, load_expectations
from silver.parse import parsed
from silver.standardize import load_taxonomy, standardized

DATA = Path(__file__).resolve().parents[1] / "data"
LANDED = dt.datetime(2024, 5, 10, 12, tzinfo=dt.UTC)
BRONZE = PARSED.split(", keys ")[0]
GOOD = {
    "Complaint ID": "7523056",
    "Date received": "2024-05-01",
    "Date sent to company": "2024-05-01",
    "Product": "Mortgage",
    "Issue": "Trouble during payment process",
    "Company": "BANK OF EXAMPLE",
    "State": "FL",
    "ZIP code": "33009",
    "Submitted via": "Web",
    "Company response to consumer": "Closed with explanation",
    "Timely response?": "Yes",
    "Consumer disputed?": "N/A",
}


def complaint(**changes: Any) -> str:  # noqa: ANN401
    """The valid complaint as JSON with changed values; None removes a key."""
    changed = GOOD | {name.replace("_", " "): value for name, value in changes.items()}
    return json.dumps({key: value for key, value in changed.items() if value is not None})


LONG = "word " * 25_000
NO_FIELD = ["no_known_field", "complaint_id_missing", "date_received_missing"]
NOTHING_ELSE = ["product_missing", "issue_missing", "company_missing"]
BROKEN: dict[str, list[tuple[str | bytes | None, list[str], list[str]]]] = {
    # payload, expected reasons, expected warnings; at least one entry per rule
    "the payload": [
        (None, ["empty_payload"], []),
        ("", ["empty_payload"], []),
        (" \n\t", ["empty_payload"], []),
        ("\ufeff\0 ", ["empty_payload"], []),
        (complaint(Company="Café").encode("latin-1").replace(b"\\u00e9", b"\xe9"), ["not_utf8"], []),
        (b"\xff\xfe{", ["not_utf8"], []),
        (complaint().encode("utf-16")[:-1], ["not_utf8"], []),
        (gzip.compress(complaint().encode()), ["not_utf8", "compressed"], []),
        (zlib.compress(complaint().encode()), ["not_utf8", "compressed"], []),
        (b"\0\0\0\0\x07\x02\x0e7523056\xff", ["not_utf8", "schema_registry_binary"], []),
        ("\0\0\0\0\x07\x02\x0e7523056", ["schema_registry_binary", "not_json"], []),
        (complaint(Company="A\0B"), ["nul_bytes"], []),
        (complaint().replace("BANK", "B\0NK"), ["nul_bytes"], []),
        ("not json", ["not_json"], []),
        (complaint()[:-20], ["not_json"], []),
        ("42", ["not_json"], []),
        (f"[{complaint()}, {complaint()}]", ["array_not_object"], []),
        (f"[{complaint()}] and more", ["array_not_object"], []),
        ("[NaN, 1]", ["array_not_object"], []),
        ("[]", ["array_not_object"], []),
        (repr(GOOD | {"Tags": None}), ["not_json"], []),
        (",".join(GOOD.values()), ["not_json"], []),
        (json.dumps(complaint()) + ', "x"', ["not_json"], []),
        ('{"record": ' + complaint() + "}", NO_FIELD, NOTHING_ELSE),
        ('{"before": ' + complaint() + ', "after": null, "op": "d"}', NO_FIELD, NOTHING_ELSE),
        ('{"after": "text"}', NO_FIELD, NOTHING_ELSE),
        ("[1, 2", ["not_json"], []),
        (complaint()[:-1] + ', "product": "Debt collection"}', ["duplicated_key"], []),
        (complaint() + "\n" + complaint(Complaint_ID="8"), ["content_after_object"], []),
        (complaint() + ",", ["content_after_object"], []),
        (complaint() + '}, "x": {', ["content_after_object"], []),
        (complaint() + " \r\n\t", [], []),
        (complaint().replace('"N/A"', "NaN"), [], []),
        (complaint().replace('"', "'"), [], []),
        (complaint(Narrative="word " * 210_000), ["payload_too_large"], []),
        ("[" + "1, " * 400_000 + "]", ["payload_too_large"], []),
        (complaint(Narrative="\u00e9" * 100_000), [], []),
    ],
    "complaint_id": [
        (complaint(Complaint_ID=None), ["complaint_id_missing"], []),
        (complaint(Complaint_ID=""), ["complaint_id_missing"], []),
        (complaint(Complaint_ID="12a"), ["complaint_id_not_numeric"], []),
        (complaint(Complaint_ID=7101401.0), [], []),
        (complaint(Complaint_ID="-5"), ["complaint_id_not_numeric"], []),
        (complaint(Complaint_ID="0"), ["complaint_id_not_numeric"], []),
        (complaint(Complaint_ID="1" * 40), ["complaint_id_not_numeric"], []),
        (complaint(Complaint_ID=int("1" * 40)), ["complaint_id_not_numeric"], []),
    ],
    "dates": [
        (complaint(Date_received=None), ["date_received_missing"], []),
        (complaint(Date_received="soon"), ["date_received_unreadable"], []),
        (complaint(Date_received="2024-02-30"), ["date_received_unreadable"], []),
        (complaint(Date_received="2010-12-31"), ["date_received_before_2011"], []),
        (complaint(Date_received="2011-01-01"), [], []),
        (complaint(Date_received="2024-05-11", Date_sent_to_company=None), [], []),
        (complaint(Date_received="2024-05-12", Date_sent_to_company=None), ["date_received_in_future"], []),
        (complaint(Date_sent_to_company="soon"), [], ["date_sent_unreadable"]),
        (complaint(Date_sent_to_company="2024-04-30"), [], ["sent_a_day_before_received"]),
        (complaint(Date_sent_to_company="2024-04-29"), ["sent_before_received"], []),
    ],
    "intake": [
        (complaint(Narrative=LONG), ["narrative_too_long"], []),
        (complaint(Narrative=LONG[:100_000]), [], []),
        (complaint(Narrative="{$100.00} was taken from me."), [], []),
        (complaint(Narrative="[XXXX] took it."), [], []),
        (complaint(Narrative={"a": 1}), ["field_not_scalar"], []),
        (complaint(Company=["A", "B"]), ["field_not_scalar"], []),
        (complaint(State={}), ["field_not_scalar"], ["state_unknown"]),
        (complaint(Company="A" * 4_001), ["field_too_long"], []),
        (complaint(Company="A" * 4_000), [], []),
        (complaint(Product=None), [], ["product_missing"]),
        (complaint(Product="Teleportation"), [], ["product_unknown"]),
        (complaint(Issue=""), [], ["issue_missing"]),
        (complaint(Company="None"), [], ["company_missing"]),
        (complaint(State="ZZ"), [], ["state_unknown"]),
        (complaint(ZIP_code="3300"), [], ["zip_malformed"]),
        (complaint(State="MA", ZIP_code="2134"), [], []),
        (complaint(Submitted_via="Telegram"), [], ["submitted_via_unknown"]),
    ],
    "outcome": [
        (complaint(Company_response_to_consumer="Shrug"), [], ["response_unknown"]),
        (json.dumps(GOOD | {"Timely response?": "maybe"}), [], ["timely_unreadable"]),
        (json.dumps(GOOD | {"Consumer disputed?": "maybe"}), [], ["disputed_unreadable"]),
    ],
    "several at once, in the order of the file": [
        (
            complaint(Complaint_ID="x", Date_received="2010-01-01", State="ZZ", ZIP_code="1"),
            ["complaint_id_not_numeric", "date_received_before_2011"],
            ["state_unknown", "zip_malformed"],
        ),
    ],
    "nothing": [
        (complaint(), [], []),
        (json.dumps({"Complaint ID": "5", "Consumer complaint narrative": "It came later."}), [], []),
        (complaint(Narrative=r"A backslash before u: \u0000".replace("\\u", "\\\\u")), [], []),
    ],
}
CASES = [case for cases in BROKEN.values() for case in cases]


@pytest.fixture(scope="module")
def expectations(spark: SparkSession) -> tuple[Expectation, ...]:
    return load_expectations(spark)


def verdicts(spark: SparkSession, rows: list[dict[str, Any]], expectations: tuple[Expectation, ...]) -> DataFrame:
    bronze = spark.createDataFrame([{"ingested_at": LANDED, "source": "kafka"} | row for row in rows], BRONZE)
    return (
        bronze.repartition(2).transform(parsed).transform(standardized(load_taxonomy())).transform(judged(expectations))
    )


def as_row(line: int, payload: str | bytes | None) -> dict[str, Any]:
    field = "payload_bytes" if isinstance(payload, bytes) else "payload"
    return {"line": line, field: bytearray(payload) if isinstance(payload, bytes) else payload}


def test_broken_rows_get_every_reason_that_applies(spark: SparkSession, expectations: tuple[Expectation, ...]) -> None:
    judged_rows = verdicts(spark, [as_row(i, case[0]) for i, case in enumerate(CASES)], expectations)
    found = {row.line: (row.reasons, row.warnings) for row in judged_rows.collect()}
    wrong = {
        str(payload)[:80]: found[i]
        for i, (payload, reasons, warnings) in enumerate(CASES)
        if found[i] != (reasons, warnings)
    }
    assert not wrong


def test_a_broken_csv_row_is_not_reported_as_bad_json_nor_a_latin_one_as_broken(
    spark: SparkSession, expectations: tuple[Expectation, ...]
) -> None:
    rows: list[dict[str, object]] = [{"payload": "2023-07-17,Credit repor"}, {"payload_bytes": b"caf\xe9,1"}]
    frame = verdicts(
        spark, [{"record_id": str(at), "source": "csv", **row} for at, row in enumerate(rows)], expectations
    )
    broken, latin = frame.orderBy("record_id").collect()
    assert (broken.reasons, broken.warnings) == (["csv_row_broken"], [])
    assert (latin.reasons, latin.warnings) == (["not_utf8"], [])


def test_every_rule_has_a_row_that_breaks_it(expectations: tuple[Expectation, ...]) -> None:
    shown = {rule for _, reasons, warnings in CASES for rule in (*reasons, *warnings)} | {"csv_row_broken"}
    assert shown == {rule.id for rule in expectations}


def test_broken_rows_are_counted_by_rule(spark: SparkSession, expectations: tuple[Expectation, ...]) -> None:
    payloads = [complaint(), complaint(State="ZZ"), complaint(State="YY", Complaint_ID="x"), "not json"]
    frame = verdicts(spark, [as_row(i, payload) for i, payload in enumerate(payloads)], expectations)
    [counts] = frame.agg(*broken_counts(expectations)).collect()
    assert {rule: n for rule, n in counts.asDict().items() if n} == {
        "state_unknown": 2,
        "complaint_id_not_numeric": 1,
        "not_json": 1,
    }
    assert set(counts.asDict()) == {rule.id for rule in expectations}


def test_real_complaints_are_not_refused(spark: SparkSession, expectations: tuple[Expectation, ...]) -> None:
    payloads = [json.dumps(row) for row in json.loads((DATA / "2015-narratives.json").read_text(encoding="utf-8"))]
    for path in sorted(DATA.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            whole = [row for row in rows if None not in row and None not in row.values()]
        assert whole, path.name
        payloads += [json.dumps(row) for row in whole]
    rows_judged = verdicts(spark, [as_row(i, payload) for i, payload in enumerate(payloads)], expectations)
    assert rows_judged.where("size(reasons) > 0").select("payload", "reasons").collect() == []
    assert (
        rows_judged.where("size(array_except(warnings, array('issue_missing'))) > 0").select("warnings").collect() == []
    )


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "expect: product_known",
            "expect: product_knwn",
            "expect: there is no column 'product_knwn' (did you mean product_known?)",
        ),
        ("expect: product_known", "expect: product", "expect: returns string, but a condition must be true or false"),
        ("field: zip_code", "field: zip", "field: 'zip' is none of payload, complaint_id,"),
        ("id: not_json", "id: Not JSON", "id: 'Not JSON' "),
        ("id: not_json", "id: not_utf8", "the id is taken by the rule on line"),
    ],
)
def test_an_invalid_expectation_is_refused(
    spark: SparkSession, tmp_path: Path, before: str, after: str, message: str
) -> None:
    text = (CONF / "expectations.yaml").read_text(encoding="utf-8")
    assert text.count(before + "\n") == 1
    path = tmp_path / "expectations.yaml"
    path.write_text(text.replace(before + "\n", after + "\n"), encoding="utf-8")
    with pytest.raises(ComplaintsError) as error:
        load_expectations(spark, path)
    assert message in str(error.value)
    assert f"expectations.yaml:{text[: text.index(before + chr(10))].count(chr(10)) + 1}" in str(error.value)
