"""Data quality rules for complaints: conf/expectations.yaml compiled to Spark expressions.

Reads parsed complaints with their standard columns; adds the rules that each row breaks. One row in, one row out.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.rules.conditions import Condition, as_column, check_conditions
from lakehouse.rules.files import Rule, read_rules
from lakehouse.settings import CONF
from lakehouse.step import Step
from silver.fields import FIELDS
from silver.standardize import load_taxonomy, standardized

Severity = Literal["quarantine", "warn"]

# The schema that rules may use besides the standard columns: a parsed bronze row.
PARSED = (
    "record_id string, payload string, payload_bytes binary, source string, topic string, partition int, "
    "offset bigint, kafka_timestamp timestamp, file string, line bigint, replay_of string, ingested_at timestamp, "
    f"keys array<string>, raw struct<{', '.join(f'{field.name}: string' for field in FIELDS)}>, "
    f"typed struct<{', '.join(f'{field.name}: {field.type}' for field in FIELDS if field.type != 'string')}>, "
    "oversized boolean, text string, followed boolean"
)


class Expectation(Rule):
    """One rule: what a field must satisfy, and what happens to a row that breaks it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    field: str
    severity: Severity
    expect: str
    meaning: str

    @field_validator("field")
    @classmethod
    def _known(cls, value: str) -> str:
        known = ("payload", *(field.name for field in FIELDS))
        if value not in known:
            msg = f"is none of {', '.join(known)}"
            raise ValueError(msg)
        return value


def load_expectations(spark: SparkSession, path: Path = CONF / "expectations.yaml") -> tuple[Expectation, ...]:
    """Load and check the expectations, in file order.

    Raises:
        ComplaintsError: if a key, value or SQL expression is wrong; names file, line and rule.
    """
    file = read_rules(path)
    file.only("expectations")
    rules = file.rules("expectations", Expectation)
    parsed = spark.createDataFrame([], PARSED).transform(standardized(load_taxonomy()))
    check_conditions(file, parsed, (Condition(entry, "expect", rule.id, rule.expect) for entry, rule in rules))
    return tuple(rule for _, rule in rules)


def judged(expectations: Iterable[Expectation]) -> Step:
    """Return the step that adds the rules each complaint breaks.

    Returns:
        A step over parsed complaints with standard columns. It adds ``reasons`` and ``warnings``: the ids of the broken
        rules with severity quarantine and warn, in file order; empty, never null.
    """
    rules = tuple(expectations)
    columns = {
        "reasons": _broken(rule for rule in rules if rule.severity == "quarantine"),
        "warnings": _broken(rule for rule in rules if rule.severity == "warn"),
    }

    def with_verdict(standard: DataFrame) -> DataFrame:
        return standard.withColumns(columns)

    return with_verdict


def broken_counts(expectations: Iterable[Expectation]) -> list[Column]:
    """Return one aggregate per rule, named by its id, that counts the rows marked as broken by `judged`."""
    column = {"quarantine": "reasons", "warn": "warnings"}
    return [
        F.count(F.when(F.array_contains(column[rule.severity], rule.id), 1)).alias(rule.id) for rule in expectations
    ]


def _broken(rules: Iterable[Expectation]) -> Column:
    """The ids of the broken rules, joined and split: unlike a filter lambda, that gets code generation."""
    ids = (F.when(~as_column(rule.expect), F.lit(rule.id)) for rule in rules)
    return F.array_remove(F.split(F.concat_ws(",", *ids), ","), "")
