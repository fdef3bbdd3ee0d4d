"""Evaluate the alert rules on a lake: once, or again and again while a stream runs."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from lakehouse.settings import Settings
from monitoring.alerts import Alert, AlertRule, Query, evaluated, load_alerts, send
from monitoring.measures import measured
from streaming.tables import TABLES

Say = Callable[[str], None]


def current_alerts(settings: Settings, rules: Sequence[AlertRule]) -> list[Alert]:
    """Evaluate the rules on the settings' lake and Kafka now.

    Raises:
        ComplaintsError: there are no tables yet, or a rule can't be evaluated; the message names the rule.
    """
    return evaluated(_query(settings), partial(measured, settings), rules)


def alert_watch(settings: Settings, notify: Say) -> "AlertWatch":
    """Return the watch of a running stream, with the rules as they are now.

    Raises:
        ComplaintsError: a rule is invalid; the message names file, line, rule and key.
    """
    webhook = settings.alerts.webhook.get_secret_value() if settings.alerts.webhook else None
    return AlertWatch(partial(current_alerts, settings, load_alerts()), webhook, notify)


def _query(settings: Settings) -> Query:
    """Return a query function: DuckDB on a laptop, also while a stream runs; Spark on a cluster, without DuckDB."""
    if settings.platform.tables_are_files:
        from monitoring.lake_sql import lake_query  # noqa: PLC0415 - uses DuckDB, which is not on the cluster

        return lambda statement: lake_query(settings, statement, seconds=settings.sql.seconds).rows
    from lakehouse.spark.session import start_session  # noqa: PLC0415 - only there
    from lakehouse.sql.cluster import cluster_query  # noqa: PLC0415
    from lakehouse.tables.lake import Lake  # noqa: PLC0415

    lake = Lake(start_session(settings), settings)
    return lambda statement: cluster_query(lake, TABLES, statement)


class AlertWatch:
    """Evaluates the rules again and again; reports each alert when it begins and when it is over.

    Args:
        evaluate: returns the evaluated rules.
        webhook: where alerts that begin are posted; None for nowhere.
        notify: called with a sentence for each change.
    """

    def __init__(self, evaluate: Callable[[], Iterable[Alert]], webhook: str | None, notify: Say) -> None:
        self._evaluate = evaluate
        self._webhook = webhook
        self._notify = notify
        self._firing: set[str] = set()
        self._unsent: dict[str, Alert] = {}

    def __call__(self) -> None:
        """Evaluate once.

        Raises:
            ComplaintsError: a rule can't be evaluated, or the webhook did not accept an alert; it is posted next time.
        """
        firing = {alert.id: alert for alert in self._evaluate() if alert.fires}
        begun = {name: alert for name, alert in firing.items() if name not in self._firing}
        for alert in begun.values():
            self._notify(f"Alert: {alert}")
        for name in sorted(self._firing - firing.keys()):
            self._notify(f"The alert {name} is over.")
        self._firing = set(firing)
        self._unsent = {name: alert for name, alert in {**self._unsent, **begun}.items() if name in firing}
        if self._webhook and self._unsent:
            send(self._unsent.values(), self._webhook)
        self._unsent = {}
