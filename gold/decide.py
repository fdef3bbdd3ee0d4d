"""Decision rules: conf/decisions.yaml compiled to Spark expressions.

Reads scored complaints (the columns of silver.complaints with `probability`); adds the decision: what to do with each
complaint. One row in, one row out.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from gold.tables import REASON
from lakehouse.rules.conditions import Condition, as_column, check_conditions
from lakehouse.rules.files import Entry, Rule, RuleFile, read_rules
from lakehouse.settings import CONF
from lakehouse.step import Step

URGENCIES = ("critical", "high", "medium", "low")
SCORE = ("probability", "scored_with")
END = ""  # marks the end of a phrase in the trie
EFFECT = (
    "struct<urgency:string,escalate:boolean,team:string,action:string,calendar_days:int,business_days:int,"
    f"why:{REASON}>"
)


class Deadline(BaseModel):
    """Days from date_received; business days skip weekends, but not holidays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(ge=0, le=365)
    kind: Literal["calendar", "business"]


class Effect(Rule):
    """What a rule or a band requires when it fires."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    urgency: Literal["critical", "high", "medium", "low"]
    escalate: bool
    team: str | None = None
    action: str = Field(min_length=1)
    deadline: Deadline | None = None
    reason: str = Field(min_length=1)
    basis: str = Field(min_length=1)


class Decision(Effect):
    """A rule over intake columns."""

    when: str
    effective_from: dt.date | None = None
    effective_to: dt.date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Decision":
        if self.effective_from and self.effective_to and self.effective_from > self.effective_to:
            msg = "takes effect after it has ended"
            raise ValueError(msg)
        return self


class Band(Effect):
    """A rule over the probability, with a minimum only: a higher score never lowers the response."""

    at_least: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class DecisionRules:
    """The checked content of conf/decisions.yaml.

    Attributes:
        default_team: the team for products without their own.
        teams: product family to team.
        text: name to phrases in lower case.
        rules: decisions and bands, most urgent first, then in file order.
    """

    default_team: str
    teams: Mapping[str, str]
    text: Mapping[str, tuple[str, ...]]
    rules: tuple[Decision | Band, ...]


def load_decisions(spark: SparkSession, schema: StructType, path: Path = CONF / "decisions.yaml") -> DecisionRules:
    """Load and check the decision rules.

    Args:
        spark: the session whose analyzer checks the conditions.
        schema: columns of the frame passed to `decided`; conditions may use all but the score.
        path: the rules file.

    Raises:
        ComplaintsError: if a key, value, phrase, team or condition is wrong; names file, line and rule.
    """
    file = read_rules(path)
    file.only("teams", "text", "rules", "bands")
    text = _text(file)
    teams = _teams(file)
    decisions = file.rules("rules", Decision)
    bands = file.rules("bands", Band)
    ids = {rule.id for _, rule in decisions}
    for entry, band in bands:
        if band.id in ids:
            file.refuse("the id is taken by a rule", line=entry.line, rule=band.id)
    if not any(rule.when == "true" and not (rule.effective_from or rule.effective_to) for _, rule in decisions):
        found = "no rule has `when: 'true'` for all time, so some complaints would get no action"
        file.refuse(found, line=file.content.lines["rules"], key="rules")
    intake = spark.createDataFrame([], schema).drop(*SCORE).transform(_with_text(text))
    check_conditions(file, intake, (Condition(entry, "when", rule.id, rule.when) for entry, rule in decisions))
    rules: list[Decision | Band] = [*(rule for _, rule in decisions), *(band for _, band in bands)]
    return DecisionRules(
        default_team=teams.pop("default"),
        teams=teams,
        text=text,
        rules=tuple(sorted(rules, key=lambda rule: URGENCIES.index(rule.urgency))),
    )


def decided(rules: DecisionRules) -> Step:
    """Return the step that adds the decision to scored complaints.

    Returns:
        A step over frames with the schema that the rules were checked against. It adds urgency, escalate, team,
        recommended_action, due_on, rules and reasons, as described in `gold.tables.DECISIONS`.
    """
    effects = F.from_json(F.lit(json.dumps({r.id: _effect(r) for r in rules.rules})), f"map<string,{EFFECT}>")
    fired = _fired(rules.rules)
    team = F.from_json(F.lit(json.dumps(dict(rules.teams))), "map<string,string>")[F.col("product_family")]

    def with_decision(scored: DataFrame) -> DataFrame:
        # One withColumn per column: Spark doesn't merge projections that use a costly column twice, so each condition
        # is evaluated once.
        return (
            scored.transform(_with_text(rules.text))
            .withColumn("rules", fired.cast("array<string>"))
            # On an existing column: neither a lambda nor its argument gets code generation.
            .withColumn("_fired", F.transform("rules", lambda rule: effects[rule]))
            .withColumns(
                {
                    "urgency": F.col("_fired")[0]["urgency"],
                    "escalate": F.array_contains("_fired.escalate", value=True),
                    "team": F.coalesce(F.get(F.array_compact("_fired.team"), 0), team, F.lit(rules.default_team)),
                    "recommended_action": F.col("_fired")[0]["action"],
                    "due_on": F.least(
                        F.date_add("date_received", F.array_min("_fired.calendar_days")),
                        _after_business_days("date_received", F.array_min("_fired.business_days")),
                    ),
                    "reasons": F.col("_fired.why"),
                }
            )
            .drop("_fired", "text")
        )

    return with_decision


def _with_text(text: Mapping[str, tuple[str, ...]]) -> Step:
    """Add the struct `text`: one boolean per name, true when the narrative contains one of its phrases."""
    pattern = _pattern(phrase for phrases in text.values() for phrase in phrases)

    def with_text(complaints: DataFrame) -> DataFrame:
        # One pass over the narrative finds all phrases; one pass per rule would take ten times as long.
        found = F.concat_ws("|", F.regexp_extract_all(F.lower("narrative"), F.lit(pattern), 0))
        phrases = F.split(F.regexp_replace(found, r"\s+", " "), r"\|")
        flags = (F.arrays_overlap("_phrases", F.split(F.lit("|".join(text[name])), r"\|")).alias(name) for name in text)
        return complaints.withColumn("_phrases", phrases).withColumn("text", F.struct(*flags)).drop("_phrases")

    return with_text


def _pattern(phrases: Iterable[str]) -> str:
    """A regular expression for whole phrases, built as a trie: a hundred flat alternatives are slow."""
    tree: dict[str, Any] = {}
    for phrase in phrases:
        node = tree
        for letter in phrase:
            node = node.setdefault(letter, {})
        node[END] = {}
    return rf"\b{_branches(tree)}\b"


def _branches(tree: dict[str, Any]) -> str:
    letters = [
        (r"\s+" if letter == " " else re.escape(letter)) + _branches(below)
        for letter, below in tree.items()
        if letter != END
    ]
    if not letters:
        return ""
    joined = letters[0] if len(letters) == 1 and END not in tree else f"(?:{'|'.join(letters)})"
    return f"{joined}?" if END in tree else joined


def _fired(rules: Iterable[Decision | Band]) -> Column:
    """The ids of the rules that fire, joined and split: unlike a filter lambda, that gets code generation."""
    ids = (F.when(_condition(rule), F.lit(rule.id)) for rule in rules)
    return F.array_remove(F.split(F.concat_ws(",", *ids), ","), "")


def _condition(rule: Decision | Band) -> Column:
    if isinstance(rule, Band):
        return F.col("probability") >= rule.at_least
    condition = as_column(rule.when)
    if rule.effective_from:
        condition = (F.col("date_received") >= F.lit(rule.effective_from)) & condition
    if rule.effective_to:
        condition = (F.col("date_received") <= F.lit(rule.effective_to)) & condition
    return condition


def _effect(rule: Decision | Band) -> dict[str, Any]:
    days = {f"{rule.deadline.kind}_days": rule.deadline.days} if rule.deadline else {}
    why = {"rule": rule.id, "reason": rule.reason, "basis": rule.basis}
    return {
        "urgency": rule.urgency,
        "escalate": rule.escalate,
        "team": rule.team,
        "action": rule.action,
        "why": why,
        **days,
    }


def _after_business_days(date: str, days: Column) -> Column:
    """Add business days to a date; a weekend counts from the Friday before. Holidays aren't skipped."""
    since_monday = F.weekday(date)
    weekday = F.least(since_monday, F.lit(4))
    weekends = F.floor((weekday + days) / 5)
    return F.date_add(date, (weekday - since_monday + days + weekends * 2).cast("int"))


def _text(file: RuleFile) -> dict[str, tuple[str, ...]]:
    section = file.section("text", dict)
    for name, phrases in section.items():
        if not (isinstance(phrases, list) and phrases):
            file.refuse("should be a list of phrases", line=section.lines[name], key=name)
        for phrase in phrases:
            if not (isinstance(phrase, str) and re.fullmatch(r"[a-z0-9]([a-z0-9 '-]*[a-z0-9])?", phrase)):
                found = f"the phrase {phrase!r} may only have small letters, digits, and between them spaces, ' and -"
                file.refuse(found, line=section.lines[name], key=name)
    return {name: tuple(phrases) for name, phrases in section.items()}


def _teams(file: RuleFile) -> dict[str, str]:
    families = read_rules(CONF / "taxonomy.yaml").section("families", list)
    teams: Entry = file.section("teams", dict)
    if "default" not in teams:
        file.refuse("the key 'default' is missing", line=teams.line, key="teams")
    for family, team in teams.items():
        if family not in (*families, "default"):
            found = f"there is no product family '{family}'; there are {', '.join(families)}"
            file.refuse(found, line=teams.lines[family], key="teams")
        if not isinstance(team, str):
            file.refuse(f"{team!r} is not a team's name", line=teams.lines[family], key=family)
    return dict(teams)
