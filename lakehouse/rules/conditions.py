"""Conditions of rules: SQL expressions that Spark's analyzer accepts and that depend only on their row."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql.functions import expr
from pyspark.sql.types import ArrayType, DataType, StructType

from lakehouse.rules.files import Entry, RuleFile, near
from lakehouse.spark.internals import analyzed

# Catalyst classes that make an expression depend on more than its row.
REFUSED = {
    "CallMethodViaReflection": "calls Java by reflection",
    "PythonUDF": "calls Python",
    "CurrentTimestamp": "reads the clock",
    "CurrentDate": "reads the clock",
    "Now": "reads the clock",
    "LocalTimestamp": "reads the clock",
    "CurrentUser": "depends on who runs it",
    "ScalarSubquery": "has a subquery",
    "Exists": "has a subquery",
    "InSubquery": "has a subquery",
    "ListQuery": "has a subquery",
}
ROWS_ONLY = {"Window": "looks at other rows", "Aggregate": "looks at other rows", "Generate": "creates rows"}


@dataclass(frozen=True)
class Condition:
    """A SQL expression of a rule and its place in the file."""

    entry: Entry
    key: str
    rule: str
    sql: str


def check_conditions(file: RuleFile, frame: DataFrame, conditions: Iterable[Condition]) -> None:
    """Refuse conditions that Spark can't evaluate on a row of the DataFrame.

    Args:
        file: the file with the conditions, for the error message.
        frame: a DataFrame with the columns that the conditions may use; its rows are never read.
        conditions: SQL expressions that must be boolean and depend only on their row.

    Raises:
        ComplaintsError: a condition is invalid; the message names the first one.
    """
    conditions = tuple(conditions)
    try:
        together = frame.select("*", *(as_column(c.sql).alias(f"_{i}") for i, c in enumerate(conditions)))
        types = [f.dataType.typeName() for f in together.schema.fields[len(frame.columns) :]]
        if set(types) <= {"boolean"} and not _dependency(together):
            return
    except PySparkException:
        pass  # one of them is wrong: the loop below finds which
    for condition in conditions:
        if found := _problem(frame, condition.sql):
            line = condition.entry.lines[condition.key]
            file.refuse(found, line=line, rule=condition.rule, key=condition.key)


def as_column(sql: str) -> Column:
    """A condition as a column. In parentheses, or Spark would read an extra word at the end as an alias."""
    return expr(f"({sql}\n)")


def _problem(frame: DataFrame, sql: str) -> str | None:
    """What is wrong with an expression; None if it is valid."""
    try:
        frame.select(expr(sql))  # without parentheses, so the error is about the text as written
        selected = frame.select("*", as_column(sql).alias("_condition"))
    except PySparkException as error:
        return _describe(error, frame)
    kind = selected.schema["_condition"].dataType.simpleString()
    if kind != "boolean":
        return f"returns {kind}, but a condition must be true or false"
    return (found := _dependency(selected)) and f"the expression {found}, but may only depend on the complaint itself"


def _dependency(select: DataFrame) -> str | None:
    """What a select depends on besides its row; None if nothing."""
    plan = analyzed(select)
    for name, found in (REFUSED | ROWS_ONLY).items():
        if name in plan.classes:
            return found
    return None if plan.is_deterministic else "returns a different value each time"


def _describe(error: PySparkException, frame: DataFrame) -> str:
    """Spark's error about an expression, shortened."""
    parameters = error.getMessageParameters() or {} if isinstance(error, AnalysisException) else {}
    kind = error.getErrorClass() or ""
    name = next((parameters[key] for key in ("objectName", "fieldName", "routineName") if key in parameters), "")
    name = name.replace("`", "")
    if kind.startswith(("UNRESOLVED_COLUMN", "FIELD_NOT_FOUND")):
        return f"there is no column '{name}'{near(name, _names(frame.schema))}"
    if kind.startswith("UNRESOLVED_ROUTINE"):
        return f"there is no function '{name}'"
    if kind.startswith("MISSING_GROUP_BY"):
        return "the expression looks at other rows, but may only depend on the complaint itself"
    first = re.split(r"\n|;? line \d+ pos|\(line \d+", re.sub(r"^\s*\[[A-Z_.0-9]+\]\s*", "", str(error)))[0]
    return f"Spark can't read it: {first.strip().rstrip('.;')}"


def _names(schema: StructType, above: str = "") -> list[str]:
    """The names of a schema's columns, and of their nested fields as dotted paths."""
    names = []
    for field in schema:
        names += [f"{above}{field.name}"]
        inner: DataType = field.dataType.elementType if isinstance(field.dataType, ArrayType) else field.dataType
        if isinstance(inner, StructType):
            names += _names(inner, f"{above}{field.name}.")
    return names
