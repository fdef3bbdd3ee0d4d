"""Alert rules as code (`conf/alerts.yaml`): evaluated on the tables and Kafka, returned or sent to a webhook."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lakehouse.errors import ComplaintsError
from lakehouse.json_values import as_json
from lakehouse.rules.files import Rule, read_rules
from lakehouse.settings import CONF
from lakehouse.web import PostError, post
from monitoring.measures import Measure, MeasureName

WEBHOOK_SECONDS = 10
Query = Callable[[str], Sequence[Sequence[Any]]]  # runs a statement and returns its rows


class AlertRule(Rule):
    """What is measured, by SQL or by name, its threshold, and what it means if the value exceeds it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    query: str | None = Field(default=None, min_length=1)
    measure: MeasureName | None = None
    above: float
    says: str = Field(min_length=1)

    @model_validator(mode="after")
    def _measures_one_thing(self) -> Self:
        if (self.query is None) == (self.measure is None):
            msg = "a rule has either a query or a measure"
            raise ValueError(msg)
        return self

    @property
    def measured(self) -> MeasureName:
        """The name of what is measured, of a rule without a query."""
        if self.measure is None:
            msg = f"the rule {self.id} has a query"
            raise ValueError(msg)
        return self.measure


@dataclass(frozen=True)
class Alert:
    """An evaluated rule.

    Attributes:
        id: the rule.
        value: what was measured; None if there is no data yet, or it could not be measured.
        above: the threshold.
        fires: whether the value exceeds the threshold, or Kafka could not be asked.
        says: what it means.
        reason: why there is no value, if that is known.
    """

    id: str
    value: float | None
    above: float
    fires: bool
    says: str
    reason: str = ""

    def __str__(self) -> str:
        """Return the alert in one sentence."""
        if self.value is None:
            return f"{self.id} can't be measured: {self.reason} {self.says}"
        return f"{self.id} is {self.value:,g}, above {self.above:,g}. {self.says}"


def load_alerts(path: Path = CONF / "alerts.yaml") -> Sequence[AlertRule]:
    """Read and validate the rules.

    Raises:
        ComplaintsError: a rule is invalid; the message names file, line, rule and key.
    """
    file = read_rules(path)
    file.only("alerts")
    return [rule for _, rule in file.rules("alerts", AlertRule)]


def evaluated(query: Query, measure: Measure, rules: Iterable[AlertRule]) -> list[Alert]:
    """Evaluate each rule now.

    Raises:
        ComplaintsError: there are no tables yet, or a query fails; the message names the rule.
    """
    return [_evaluated(query, measure, rule) for rule in rules]


def _evaluated(query: Query, measure: Measure, rule: AlertRule) -> Alert:
    if rule.query is not None:
        value = _queried(query, rule.id, rule.query)
        return Alert(rule.id, value, rule.above, value is not None and value > rule.above, rule.says)
    try:
        reading = measure(rule.measured)
    except ComplaintsError as error:  # not being able to look is a reason to look
        return Alert(rule.id, None, rule.above, fires=True, says=rule.says, reason=str(error))
    fires = reading.value is not None and reading.value > rule.above
    return Alert(rule.id, reading.value, rule.above, fires, rule.says, reading.reason)


def _queried(query: Query, rule: str, statement: str) -> float | None:
    try:
        rows = query(statement)
    except ComplaintsError as error:
        msg = f"The alert '{rule}' can't be evaluated: {error}"
        raise ComplaintsError(msg) from error
    if len(rows) != 1 or len(rows[0]) != 1:
        msg = f"The alert '{rule}' must return one number, but returned {len(rows)} rows."
        raise ComplaintsError(msg)
    return None if rows[0][0] is None else float(rows[0][0])


def send(alerts: Iterable[Alert], webhook: str) -> None:
    """Post the alerts to a webhook as JSON with `text`, which chat programs display, and `alerts`.

    Raises:
        ComplaintsError: the webhook did not accept them.
    """
    alerts = list(alerts)
    text = "\n".join(str(alert) for alert in alerts)
    body = as_json({"text": text, "alerts": [asdict(alert) for alert in alerts]}).encode()
    try:
        post(webhook, body, {"Content-Type": "application/json"}, seconds=WEBHOOK_SECONDS)
    except PostError as error:
        msg = f"The webhook did not accept the alerts ({error}): check COMPLAINTS_ALERTS__WEBHOOK."
        raise ComplaintsError(msg) from None
