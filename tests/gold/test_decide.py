"""Decisions: rules fire only where they should; a higher score or more flags never lower the urgency."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from gold.decide import URGENCIES, Band, DecisionRules, decided, load_decisions
from lakehouse.errors import ComplaintsError
from lakehouse.settings import CONF
from silver.standardize import load_taxonomy
from silver.tables import COMPLAINTS

MONDAY = dt.date(2024, 5, 6)
PLAIN = {
    "complaint_id": 1,
    "date_received": MONDAY,
    "product_family": "Student loan",
    "issue": "Getting a loan",
    "is_servicemember": False,
    "is_older_american": False,
    "largest_amount": 0.0,
    "probability": 0.1,
    "scored_with": "structure",
}


@pytest.fixture(scope="module")
def schema(spark: SparkSession) -> StructType:  # noqa: ARG001 (types are parsed by the session)
    score = [StructField("probability", DoubleType()), StructField("scored_with", StringType())]
    return StructType([StructField(f.name, f.dataType) for f in COMPLAINTS.schema] + score)


@pytest.fixture(scope="module")
def rules(spark: SparkSession, schema: StructType) -> DecisionRules:
    return load_decisions(spark, schema)


def frame_of(spark: SparkSession, schema: StructType, complaints: list[dict[str, Any]]) -> DataFrame:
    rows = [tuple((PLAIN | complaint).get(name) for name in schema.names) for complaint in complaints]
    return spark.createDataFrame(rows, schema)


def decisions(spark: SparkSession, schema: StructType, rules: DecisionRules, *complaints: dict[str, Any]) -> list[Row]:
    numbered = [complaint | {"complaint_id": i} for i, complaint in enumerate(complaints, start=1)]
    return frame_of(spark, schema, numbered).transform(decided(rules)).orderBy("complaint_id").collect()


DEPOSITS = {"product_family": "Checking or savings"}
CREDIT = {"product_family": "Credit reporting"}
HOUSE = {"product_family": "Mortgage"}
FIRES: dict[str, list[dict[str, Any]]] = {
    "self_harm": [{"narrative": "Some days I want to\nDIE."}, {"narrative": "I feel suicidal"}],
    "regx_foreclosure": [
        HOUSE | {"narrative": "The sheriff 's sale is next week"},
        HOUSE | {"sub_issue": "Foreclosure"},
    ],
    "fraud_in_flight": [
        DEPOSITS | {"narrative": "A scammer made me send money with Zelle."},
        {"product_family": "Money transfer", "issue": "Fraud or scam"},
    ],
    "elder_exploitation": [
        {"is_older_american": True, "narrative": "I was scammed"},
        {"narrative": "My elderly father and his caregiver"},
    ],
    "scra": [HOUSE | {"is_servicemember": True}, {"narrative": "On active duty, and they ask a higher interest rate"}],
    "discrimination": [{"narrative": "It was because of my race."}, {"narrative": "a RACIST remark"}],
    "discrimination_2026": [{"narrative": "discriminated against me", "date_received": dt.date(2026, 7, 21)}],
    "fcra_idtheft_block": [CREDIT | {"narrative": "I sent my FTC identity theft report"}],
    "rege_liability": [
        DEPOSITS | {"narrative": "my debit card was stolen"},
        DEPOSITS | {"sub_issue": "Stolen ATM card"},
    ],
    "imminent_loss": [
        {"narrative": "they will garnish my wages"},
        {"issue": "Vehicle was repossessed or sold the vehicle"},
    ],
    "rege_error": [
        DEPOSITS | {"issue": "Problem with a lender or other company charging your account"},
        DEPOSITS | {"narrative": "I did not authorize it"},
    ],
    "remittance_error": [
        {
            "product_family": "Money transfer",
            "sub_product": "International money transfer",
            "issue": "Money was not available when promised",
        }
    ],
    "regz_billing": [{"product_family": "Credit card", "issue": "Billing disputes"}],
    "fcra_dispute": [CREDIT | {"issue": "Incorrect information on your report"}],
    "fcra_direct": [{"issue": "Incorrect information on your report"}],
    "fdcpa_validation": [{"product_family": "Debt collection", "issue": "Cont'd attempts collect debt not owed"}],
    "regx_noe": [HOUSE | {"issue": "Trouble during payment process"}],
    "adverse_action": [{"narrative": "My application was denied"}],
    "udaap": [{"narrative": "They lied to me about hidden fees"}, {"issue": "Advertising and marketing"}],
    "regulator_cc": [{"narrative": "I wrote to the Attorney General"}],
    "legal_threat": [{"narrative": "My lawyer will answer"}],
    "hardship": [{"narrative": "I was laid off"}],
    "large_loss": [{"narrative": "an unauthorized transfer of {$30000.00}", "largest_amount": 30_000.0}],
    "cra_prior_dispute": [CREDIT | {"date_received": dt.date(2026, 2, 4)}],
    "cfpb_initial": [{}],
    "relief_likely": [{"probability": 0.6}],
}
SILENT: dict[str, list[dict[str, Any]]] = {
    "self_harm": [{"narrative": "I want to diet. It is killing my credit."}],
    "regx_foreclosure": [{"narrative": "The foreclosure sale"}, HOUSE | {"narrative": "before the presale date"}],
    "fraud_in_flight": [
        DEPOSITS | {"narrative": "a scam"},
        DEPOSITS | {"narrative": "a wire"},
        CREDIT | {"issue": "Fraud or scam"},
    ],
    "elder_exploitation": [{"is_older_american": True}, {"narrative": "a scam"}],
    "scra": [{"is_servicemember": True}, {"narrative": "my interest rate"}],
    "discrimination": [
        {"narrative": "a brace, embraced traces, terrace; an indiscriminate rat race"},
        {"narrative": "racist", "date_received": dt.date(2026, 7, 21)},
    ],
    "discrimination_2026": [{"narrative": "racist", "date_received": dt.date(2026, 7, 20)}],
    "legal_threat": [
        {"narrative": "I hold power of attorney. The attorney general knows. Issue, pursue, sued-like suede."[:65]},
        {"product_family": "Debt collection", "narrative": "my lawyer"},
    ],
    "hardship": [{"narrative": "My card was disabled at the hospital cafeteria. Cancerous."}],
    "imminent_loss": [CREDIT | {"narrative": "a repossession that is not mine"}],
    "rege_error": [CREDIT | {"narrative": "unauthorized inquiry"}],
    "large_loss": [{"narrative": "unauthorized", "largest_amount": 24_999.0}, {"largest_amount": 1e6}],
    "cra_prior_dispute": [CREDIT | {"date_received": dt.date(2026, 2, 3)}, {"date_received": dt.date(2026, 3, 1)}],
    "relief_likely": [{"probability": 0.59}],
}


def test_rules_fire_where_they_should(spark: SparkSession, schema: StructType, rules: DecisionRules) -> None:
    assert set(FIRES) == {rule.id for rule in rules.rules}
    cases = [(rule, case) for rule, cases in FIRES.items() for case in cases]
    rows = decisions(spark, schema, rules, *(case for _, case in cases))
    assert not [(rule, case) for (rule, case), row in zip(cases, rows, strict=True) if rule not in row.rules]


def test_rules_do_not_fire_elsewhere(spark: SparkSession, schema: StructType, rules: DecisionRules) -> None:
    cases = [(rule, case) for rule, cases in SILENT.items() for case in cases]
    rows = decisions(spark, schema, rules, *(case for _, case in cases))
    assert not [(rule, case) for (rule, case), row in zip(cases, rows, strict=True) if rule in row.rules]


def test_the_most_urgent_rule_decides_and_all_give_reasons(
    spark: SparkSession, schema: StructType, rules: DecisionRules
) -> None:
    complaint = {
        "product_family": "Mortgage",
        "issue": "Trouble during payment process",
        "narrative": "The foreclosure sale is set, and I was laid off. My lawyer knows. It is racist.",
    }
    [row] = decisions(spark, schema, rules, complaint)
    assert row.rules == ["regx_foreclosure", "discrimination", "regx_noe", "legal_threat", "hardship", "cfpb_initial"]
    assert (row.urgency, row.escalate, row.team) == ("critical", True, "Loss mitigation")
    assert row.recommended_action.startswith("Find the date of sale")
    assert [reason.rule for reason in row.reasons] == row.rules
    assert row.reasons[0].basis == "12 CFR 1024.35(e)(3), 12 CFR 1024.41(g)"
    assert row.due_on == MONDAY + dt.timedelta(days=7)  # 5 business days of regx_noe come before all others


def test_a_complaint_without_text_gets_a_complete_decision(
    spark: SparkSession, schema: StructType, rules: DecisionRules
) -> None:
    [row] = decisions(spark, schema, rules, {"issue": None, "product_family": "Other"})
    assert (row.rules, row.urgency, row.escalate, row.team) == (["cfpb_initial"], "low", False, "Customer care")
    assert row.due_on == MONDAY + dt.timedelta(days=15)


def test_the_team_is_the_products_unless_a_rule_names_one(
    spark: SparkSession, schema: StructType, rules: DecisionRules
) -> None:
    rows = decisions(
        spark,
        schema,
        rules,
        {"narrative": "I was laid off"},
        {"narrative": "They lied to me"},
        {"probability": 0.9},
        *({"product_family": family} for family in load_taxonomy().families),
    )
    assert [row.team for row in rows[:3]] == ["Student lending", "Compliance", "Student lending"]
    assert all(row.team for row in rows)


def test_the_model_raises_urgency_but_a_rule_of_equal_urgency_goes_first(
    spark: SparkSession, schema: StructType, rules: DecisionRules
) -> None:
    alone, with_rule = decisions(
        spark, schema, rules, {"probability": 0.9}, {"probability": 0.9, "narrative": "I was laid off"}
    )
    assert (alone.urgency, alone.rules) == ("medium", ["relief_likely", "cfpb_initial"])
    assert with_rule.rules == ["hardship", "relief_likely", "cfpb_initial"]
    assert with_rule.recommended_action.startswith("Give it to a handler")


def test_business_days_skip_weekends(spark: SparkSession, schema: StructType, rules: DecisionRules) -> None:
    theft = CREDIT | {"narrative": "identity theft, see the police report"}  # 4 business days
    days = [MONDAY + dt.timedelta(days=n) for n in range(14)]
    rows = decisions(spark, schema, rules, *(theft | {"date_received": day} for day in days))
    for day, row in zip(days, rows, strict=True):
        due, left = day, 4
        while left:
            due += dt.timedelta(days=1)
            left -= due.weekday() < 5
        assert row.due_on == due, day


WORDS = [
    "I want to die.",
    "A foreclosure sale.",
    "Scammed by wire.",
    "Racist.",
    "My lawyer.",
    "Laid off.",
    "Not authorized.",
]
FAMILIES = st.sampled_from([*load_taxonomy().families])
PROBABILITIES = st.floats(0, 1)
PAIRS = st.lists(
    st.tuples(FAMILIES, st.sets(st.sampled_from(WORDS)), st.sets(st.sampled_from(WORDS)), PROBABILITIES, PROBABILITIES),
    min_size=20,
    max_size=60,
)


@given(pairs=PAIRS)
@settings(max_examples=8, deadline=None)
def test_a_higher_score_or_more_flags_never_lower_the_urgency(
    spark: SparkSession,
    schema: StructType,
    rules: DecisionRules,
    pairs: list[tuple[str, set[str], set[str], float, float]],
) -> None:
    def complaint(family: str, words: set[str], probability: float) -> dict[str, Any]:
        return {"product_family": family, "narrative": " ".join(sorted(words)) or None, "probability": probability}

    less = [complaint(family, words, min(p, q)) for family, words, _, p, q in pairs]
    more = [complaint(family, words | others, max(p, q)) for family, words, others, p, q in pairs]
    rows = decisions(spark, schema, rules, *less, *more)
    for below, above in zip(rows[: len(pairs)], rows[len(pairs) :], strict=True):
        assert URGENCIES.index(above.urgency) <= URGENCIES.index(below.urgency)
        assert set(below.rules) <= set(above.rules)
        assert above.escalate >= below.escalate
        assert above.due_on <= below.due_on


def test_no_shipped_rule_depends_on_the_absence_of_words(rules: DecisionRules) -> None:
    conditions = [rule.when.lower() for rule in rules.rules if not isinstance(rule, Band)]
    assert not [when for when in conditions if "not text." in when or "narrative" in when]


def test_each_condition_is_evaluated_once(spark: SparkSession, schema: StructType, rules: DecisionRules) -> None:
    frame = frame_of(spark, schema, [PLAIN]).transform(decided(rules))
    limits = {"spark.sql.maxPlanStringLength": "1000000", "spark.sql.debug.maxToStringFields": "1000"}
    before = {key: str(spark.conf.get(key)) for key in limits}
    try:
        for key, value in limits.items():
            spark.conf.set(key, value)
        plan = frame._jdf.queryExecution().executedPlan().toString()
    finally:
        for key, old in before.items():
            spark.conf.set(key, old)
    assert plan.count("regexp_extract_all(") == 1
    assert plan.count("billing dispute|billing statement") == 1
    assert plan.count("24999") + plan.count("25000.0") == 1


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("when: text.self_harm", "when: text.self_hram", "rule 'self_harm', when: there is no column 'self_hram'"),
        ("when: text.self_harm", "when: probability > 0.5", "rule 'self_harm', when: there is no column 'probability'"),
        ("when: text.self_harm", "when: text", "rule 'self_harm', when: returns struct<"),
        (
            "{days: 0, kind: calendar}",
            "{days: -1, kind: calendar}",
            "rule 'self_harm', deadline.days: -1 should be greater",
        ),
        ("{days: 0, kind: calendar}", "{days: 0, kind: lunar}", "rule 'self_harm', deadline.kind: 'lunar' should be"),
        ("effective_from: 2026-07-21", "effective_to: 2026-13-41", "rule 'discrimination_2026', effective_to: "),
        ("at_least: 0.6", "at_most: 0.6", "rule 'relief_likely': the key 'at_least' is missing"),
        ("at_least: 0.6", "at_least: 60", "rule 'relief_likely', at_least: 60 should be less than or equal to 1"),
        ("- id: relief_likely", "- id: cfpb_initial", "rule 'cfpb_initial': the id is taken by a rule"),
        ('when: "true"', "when: is_servicemember", "no rule has `when: 'true'`"),
        ("  Student loan: Student lending", "  Student loans: X", "teams: there is no product family 'Student loans'"),
        ("  default: Customer care", "", "teams: the key 'default' is missing"),
        ("    - suicidal\n", "    - Suicidal!\n", "self_harm: the phrase 'Suicidal!' may only have small letters"),
        ("\nbands:", "\nband:", "unknown key 'band' (did you mean bands?)"),
    ],
)
def test_an_invalid_file_is_refused(
    spark: SparkSession, schema: StructType, tmp_path: Path, before: str, after: str, message: str
) -> None:
    text = (CONF / "decisions.yaml").read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "decisions.yaml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ComplaintsError) as error:
        load_decisions(spark, schema, path)
    assert message in str(error.value)
    assert "decisions.yaml:" in str(error.value)
