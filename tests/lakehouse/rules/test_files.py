"""An invalid rule file is refused in one sentence that names file, line, rule and key."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame, SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.rules.conditions import Condition, check_conditions
from lakehouse.rules.files import Rule, read_rules


class Clock(BaseModel):
    model_config = ConfigDict(extra="forbid")

    days: int


class Example(Rule):
    when: str
    urgency: Literal["high", "low"] = "low"
    clock: Clock | None = None


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(
        [], "id bigint, narrative string, day date, raw struct<state: string>, words array<string>"
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ComplaintsError) as error:
        read_rules(path).rules("rules", Example)
    return str(error.value).removeprefix(f"{folder.name}/")


def test_rules_come_in_order_with_their_lines(tmp_path: Path) -> None:
    file = read_rules(written(tmp_path, "rules:\n  - id: b\n    when: x\n  # why\n  - {id: a, when: y}\n"))
    rules = file.rules("rules", Example)
    assert [rule.id for _, rule in rules] == ["b", "a"]
    assert [(entry.line, entry.lines["when"]) for entry, _ in rules] == [(2, 3), (5, 5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rules:\n  - id: a\n    wen: x\n    when: x",
            "rules.yaml:3, rule 'a': unknown key 'wen' (did you mean when?); allowed are id, when, urgency, clock.",
        ),
        ("rules:\n  - id: a\n", "rules.yaml:2, rule 'a': the key 'when' is missing."),
        ("rules:\n  - when: x\n", "rules.yaml:2: the key 'id' is missing."),
        (
            "rules:\n  - id: a\n    when: x\n    urgency: hgih",
            "rules.yaml:4, rule 'a', urgency: 'hgih' should be 'high' or 'low'.",
        ),
        (
            "rules:\n  - id: a\n    when: x\n    clock:\n      days: 3\n      sort: y",
            "rules.yaml:6, rule 'a': unknown key 'clock.sort'; allowed are days.",
        ),
        (
            "rules:\n  - {id: a, when: x}\n  - {id: b, when: x}\n  - {id: a, when: x}",
            "rules.yaml:4, rule 'a': the id is taken by the rule on line 2.",
        ),
        (
            "rules:\n  - id: a\n    when: x\n    when: y",
            "rules.yaml:4 can't be read as YAML: the key 'when' is given twice.",
        ),
        ("rules:\n  - just words", "rules.yaml:1, rules: entry 1 is not a rule with keys."),
        ("rules: {}", "rules.yaml:1, rules: should hold a list."),
        ("others: []", "rules.yaml:1: the key 'rules' is missing."),
        ("- a\n- b", "rules.yaml must hold keys and values, but holds list."),
        ("", "rules.yaml must hold keys and values, but holds NoneType."),
        (
            "rules: [\n  a: b",
            "rules.yaml:2 can't be read as YAML: expected ',' or ']', but got '<stream end>'.",
        ),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComplaintsError, match=r"nowhere\.yaml can't be read as YAML"):
        read_rules(tmp_path / "nowhere.yaml")


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    file = read_rules(written(tmp_path, "rules: []\nrulez: []"))
    with pytest.raises(ComplaintsError, match=r"rules\.yaml:2: unknown key 'rulez' \(did you mean rules\?\)"):
        file.only("rules")


def check(folder: Path, frame: DataFrame, *conditions: str) -> None:
    lines = "".join(f"  - id: rule_{i}\n    when: {condition!r}\n" for i, condition in enumerate(conditions))
    file = read_rules(written(folder, f"rules:\n{lines}"))
    rules = file.rules("rules", Example)
    check_conditions(file, frame, [Condition(entry, "when", rule.id, rule.when) for entry, rule in rules])


def test_conditions_over_columns_fields_and_arrays_are_accepted(tmp_path: Path, frame: DataFrame) -> None:
    check(
        tmp_path,
        frame,
        "id > 0 AND narrative RLIKE '(?i)x'",
        "raw.state IN ('CA', 'NY')",
        "exists(words, word -> word = narrative)",
        "day >= DATE'2020-01-01'",
        "true",
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("naratve = 'x'", "there is no column 'naratve' (did you mean narrative?)."),
        ("raw.stat = 'x'", "there is no column 'stat'"),
        ("levenstein(narrative, 'x') < 3", "there is no function 'levenstein'."),
        ("id + 1", "returns bigint, but a condition must be true or false."),
        ("narrative", "returns string, but a condition must be true or false."),
        ("id >", "Spark can't read it: "),
        ("id > 0 AND", "Spark can't read it: "),
        ("id > 0 narrative", "Spark can't read it: "),
        ("contains(narrative)", "Spark can't read it: "),
        (
            "rand() < 0.5",
            "the expression returns a different value each time, but may only depend on the complaint itself.",
        ),
        ("day < current_date()", "the expression reads the clock, but may only depend on the complaint itself."),
        ("now() > day", "the expression reads the clock"),
        ("current_timestamp() > day", "the expression reads the clock"),
        ("unix_timestamp() > id", "the expression reads the clock"),
        ("current_user() = narrative", "the expression depends on who runs it"),
        ("id IN (SELECT 1)", "the expression has a subquery"),
        ("EXISTS (SELECT 1)", "the expression has a subquery"),
        ("(SELECT true)", "the expression has a subquery"),
        ("reflect('java.lang.System', 'getenv', 'HOME') = narrative", "the expression calls Java by reflection"),
        ("java_method('java.lang.System', 'getenv', 'HOME') = narrative", "the expression calls Java by reflection"),
        ("count(id) > 3", "the expression looks at other rows"),
        ("row_number() OVER (ORDER BY id) = 1", "the expression looks at other rows"),
        ("explode(array(true, false))", "the expression creates rows"),
        ("input_file_name() = narrative", "the expression returns a different value each time"),
    ],
)
def test_an_invalid_condition_is_refused(tmp_path: Path, frame: DataFrame, condition: str, message: str) -> None:
    with pytest.raises(ComplaintsError) as error:
        check(tmp_path, frame, "id > 0", condition, "id < 9")
    where = f"{tmp_path.name}/rules.yaml:5, rule 'rule_1', when: "
    assert str(error.value).startswith(where + message)
    assert "\n" not in str(error.value)
