"""`complaints monitor`: what needs somebody, from gold."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

import sys
from dataclasses import asdict

import click

from lakehouse.cli import Invocation, json_option, print_grid, print_json


@click.group()
def monitor() -> None:
    r"""Watch the lake.

    \b
    Example:
        complaints monitor alerts
    """


@monitor.command()
@json_option
@click.pass_obj
def alerts(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    r"""Evaluate the rules of conf/alerts.yaml on gold; exits with 1 when one fires, and posts those to alerts.webhook.

    \b
    Example:
        complaints monitor alerts
    """
    from dashboards.alerts import evaluated, load_alerts, send
    from streaming.tables import TABLES

    settings = invocation.settings()
    found = evaluated(settings, TABLES, load_alerts())
    firing = [alert for alert in found if alert.fires]
    if firing and settings.alerts.webhook:
        send(firing, settings.alerts.webhook.get_secret_value())
    if as_json:
        print_json({"alerts": [asdict(alert) for alert in found]})
    else:
        shown = [(a.id, _state(a.fires, a.value), a.value, a.above, a.says if a.fires else "") for a in found]
        print_grid(("alert", "", "value", "above", "what it means"), shown)
    if firing:
        sys.exit(1)


def _state(fires: bool, value: float | None) -> str:  # noqa: FBT001
    if value is None:
        return "not enough data yet"
    return "FIRES" if fires else "fine"
