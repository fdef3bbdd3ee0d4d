"""CFPB labels, states, channels and answers have a standard value; unknown ones never pass as known."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.settings import CONF
from silver.fields import MISSING
from silver.parse import parsed
from silver.standardize import RESPONSE_CLASSES, load_taxonomy, standardized

TAXONOMY = load_taxonomy()


def standards(spark: SparkSession, *complaints: Mapping[str, str | None]) -> list[Row]:
    rows = [(i, json.dumps(complaint)) for i, complaint in enumerate(complaints)]
    bronze = spark.createDataFrame([(*row, None) for row in rows], "line int, payload string, payload_bytes binary")
    return bronze.transform(parsed).transform(standardized(TAXONOMY)).orderBy("line").collect()


@pytest.mark.parametrize(
    ("product", "sub_product", "family"),
    [
        ("Credit reporting", None, "Credit reporting"),
        ("Credit reporting or other personal consumer reports", "Credit reporting", "Credit reporting"),
        (
            "Credit reporting, credit repair services, or other personal consumer reports",
            "Other personal consumer report",
            "Credit reporting",
        ),
        (
            "Credit reporting, credit repair services, or other personal consumer reports",
            "Credit repair services",
            "Debt or credit management",
        ),
        ("Credit card or prepaid card", "Store credit card", "Credit card"),
        ("Credit card or prepaid card", "Government benefit card", "Prepaid card"),
        ("Credit card or prepaid card", None, "Credit card"),
        ("Consumer loan", "Vehicle lease", "Vehicle loan or lease"),
        ("Consumer Loan", "Installment loan", "Payday, title or personal loan"),
        ("  mortgage ", "Reverse mortgage", "Mortgage"),
        ("Virtual currency", "Domestic (US) money transfer", "Money transfer"),
        ("Teleportation", None, "Other"),
        (None, None, "Other"),
    ],
)
def test_a_product_keeps_its_family_across_renamings(
    spark: SparkSession, product: str | None, sub_product: str | None, family: str
) -> None:
    [row] = standards(spark, {"Product": product, "Sub-product": sub_product})
    assert row.product_family == family
    assert row.product == (product.strip() if product else None)
    assert row.product_known is (None if product is None else product != "Teleportation")


def test_no_value_of_the_taxonomy_means_that_a_value_is_missing() -> None:
    known = (TAXONOMY.products, TAXONOMY.states, TAXONOMY.channels, TAXONOMY.responses)
    assert set(MISSING).isdisjoint(value for values in known for value in values)
    assert all(text == text.lower().strip() and text.isascii() for text in MISSING)


def test_the_taxonomy_is_complete() -> None:
    assert len([label for label in TAXONOMY.products if " > " not in label]) == 21
    assert set(TAXONOMY.products.values()) == set(TAXONOMY.families)
    assert len(set(TAXONOMY.states.values())) == 63
    assert set(TAXONOMY.responses.values()) == set(RESPONSE_CLASSES)


def test_states_become_codes_or_null(spark: SparkSession) -> None:
    given = ["CA", "ca", " NY ", "UNITED STATES MINOR OUTLYING ISLANDS", "Puerto Rico", "OR", "AE", "XX", "C", "", None]
    rows = standards(spark, *({"State": state} for state in given))
    assert [row.state for row in rows] == ["CA", "CA", "NY", "UM", "PR", "OR", "AE", None, None, None, None]


def test_a_state_is_known_with_punctuation_and_by_its_other_names(spark: SparkSession) -> None:
    given = {
        "D.C.": "DC", "Washington, DC": "DC", "N.Y.": "NY", "New  York": "NY", "U.S. Virgin Islands": "VI",
        "Virgin Islands, U.S.": "VI", "Micronesia": "FM", ".": None, "Georgia, USA": None,
    }  # fmt: skip
    rows = standards(spark, *({"State": state} for state in given))
    assert {state: row.state for state, row in zip(given, rows, strict=True)} == given


def test_zip_codes_stay_text(spark: SparkSession) -> None:
    given = ["02134", "33009-1234", "705XX", "705xx", "XXXXX", "2134", "330091", "ABCDE", "70XXX", None]
    rows = standards(spark, *({"ZIP code": code} for code in given))
    expected = ["02134", "33009", "705XX", "705XX", "XXXXX", None, None, None, None, None]
    assert [row.zip_code for row in rows] == expected
    assert [row.zip3 for row in rows] == ["021", "330", "705", "705", None, None, None, None, None, None]


def test_zip_codes_that_a_table_stored_as_numbers_get_their_zeros_again(spark: SparkSession) -> None:
    given = {
        ("33009.0", "FL"): "33009",
        ("33009-", "FL"): "33009",
        ("33009 1234", "FL"): "33009",
        ("330091234", "FL"): "33009",
        ("2134", "MA"): "02134",
        ("2134.0", "Massachusetts"): "02134",
        ("501", "NY"): "00501",
        ("'02134", "MA"): "02134",
        ('="02134"', "MA"): "02134",
        ("='2134'", "MA"): "02134",
        ("705**", "LA"): "705XX",
        ("*****", "LA"): "XXXXX",
        ("2134", "FL"): None,
        ("2134", ""): None,
        ("13", "MA"): None,
    }
    rows = standards(spark, *({"ZIP code": code, "State": state} for code, state in given))
    assert [row.zip_code for row in rows] == list(given.values())


def test_channels_become_standard_or_null(spark: SparkSession) -> None:
    given = ["Web", "WEB", "Web Referral", "Postal mail", "email", "Telegram", None]
    rows = standards(spark, *({"Submitted via": channel} for channel in given))
    assert [row.submitted_via for row in rows] == ["Web", "Web", "Referral", "Postal mail", "Email", None, None]


def test_tags_become_flags_that_are_never_null(spark: SparkSession) -> None:
    given = ["Servicemember", "Older American", "Older American, Servicemember", "Other", None]
    rows = standards(spark, *({"Tags": tags} for tags in given))
    assert [row.is_servicemember for row in rows] == [True, False, True, False, False]
    assert [row.is_older_american for row in rows] == [False, True, True, False, False]


def test_answers_have_a_response_class(spark: SparkSession) -> None:
    given = ["Closed with monetary relief", "Closed with non-monetary relief", "closed", "In progress", "Lost", None]
    rows = standards(spark, *({"Company response to consumer": answer} for answer in given))
    assert [row.response_class for row in rows] == [
        "monetary_relief", "non_monetary_relief", "closed", "in_progress", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("family: Mortgage}", "family: Morgage}", "rule 'Mortgage': there is no family 'Morgage'"),
        ("Untimely response: untimely", "Untimely response: late", "is 'late', but the classes are explanation"),
        ("label: Prepaid card,", "label: Credit card,", "rule 'Credit card': the id is taken by the rule on line"),
        ("\nchannels:", "\nchanels:", "unknown key 'chanels' (did you mean channels?)"),
        ("  CA: California", "  AL: California", "the key 'AL' is given twice"),
    ],
)
def test_an_invalid_taxonomy_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = (CONF / "taxonomy.yaml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ComplaintsError) as error:
        load_taxonomy(path)
    assert message in str(error.value)
    assert "taxonomy.yaml:" in str(error.value)
