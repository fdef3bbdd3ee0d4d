"""Alert rules as code (`conf/alerts.yaml`): evaluated on gold, returned or sent to a webhook."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from lakehouse.errors import ComplaintsError
from lakehouse.rules.files import Rule, read_rules
from lakehouse.settings import CONF

WEBHOOK_SECONDS = 10
Query = Callable[[str], Sequence[Sequence[Any]]]  # runs a statement and returns its rows


class AlertRule(Rule):
    """A query that returns one number, its threshold, and what it means if the number exceeds it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    query: str = Field(min_length=1)
    above: float
    says: str = Field(min_length=1)


@dataclass(frozen=True)
class Alert:
    """An evaluated rule: its number (None if there is no data yet), the threshold, and whether it fires."""

    id: str
    value: float | None
    above: float
    fires: bool
    says: str


def load_alerts(path: Path = CONF / "alerts.yaml") -> Sequence[AlertRule]:
    """Read and validate the rules.

    Raises:
        ComplaintsError: a rule is invalid; the message names file, line, rule and key.
    """
    file = read_rules(path)
    file.only("alerts")
    return [rule for _, rule in file.rules("alerts", AlertRule)]


def evaluated(query: Query, rules: Iterable[AlertRule]) -> list[Alert]:
    """Evaluate each rule on the current data.

    Raises:
        ComplaintsError: there are no tables yet, or a query fails; the message names the rule.
    """
    return [_evaluated(query, rule) for rule in rules]


def _evaluated(query: Query, rule: AlertRule) -> Alert:
    try:
        rows = query(rule.query)
    except ComplaintsError as error:
        msg = f"The alert '{rule.id}' can't be evaluated: {error}"
        raise ComplaintsError(msg) from error
    if len(rows) != 1 or len(rows[0]) != 1:
        msg = f"The alert '{rule.id}' must return one number, but returned {len(rows)} rows."
        raise ComplaintsError(msg)
    value = None if rows[0][0] is None else float(rows[0][0])
    return Alert(rule.id, value, rule.above, value is not None and value > rule.above, rule.says)


def send(alerts: Iterable[Alert], webhook: str) -> None:
    """Post the alerts to a webhook as JSON with `text`, which chat programs display, and `alerts`.

    Raises:
        ComplaintsError: the webhook did not accept them.
    """
    alerts = list(alerts)
    text = "\n".join(f"{alert.id} is {alert.value:,g}, above {alert.above:,g}. {alert.says}" for alert in alerts)
    body = json.dumps({"text": text, "alerts": [asdict(alert) for alert in alerts]}).encode()
    request = urllib.request.Request(webhook, body, {"Content-Type": "application/json"})  # noqa: S310 - as checked
    try:
        _opener().open(request, timeout=WEBHOOK_SECONDS).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        msg = f"The webhook did not accept the alerts ({_reason(error)}): check COMPLAINTS_ALERTS__WEBHOOK."
        raise ComplaintsError(msg) from None  # the error may contain the address, which is a secret


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https that follows no redirects: only the configured address is used."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _reason(error: Exception) -> str:
    """Return the reason in words that can't contain the address."""
    found = getattr(error, "reason", error)
    match error, found:
        case urllib.error.HTTPError(), _:
            return f"it answered {error.code}"
        case _, TimeoutError():
            return f"no answer for {WEBHOOK_SECONDS} s"
        case _, ssl.SSLError():
            return "its certificate is not trusted, or it does not speak TLS"
        case _, OSError(strerror=str()):
            return str(found.strerror)
        case _:
            return "its address can't be used"
