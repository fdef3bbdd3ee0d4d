"""`complaints monitor`: the stream's health from Kafka and gold, and the alerts that need attention."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import sys
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal
from complaints.cells import short_number

if TYPE_CHECKING:
    from monitoring.alerts import Alert


@click.group()
def monitor() -> None:
    """Monitor the stream: lag, health, latency and alerts.

    The commands read Kafka's offsets and the tables in gold while the stream runs.

    \b
    Example:
        complaints monitor lag --watch
        complaints monitor health
    """


@monitor.command()
@click.option("--group", metavar="NAME", show_default="the setting kafka.group", help="Consumer group.")
@click.option("--topics", metavar="NAMES", show_default="the setting kafka.input", help="Topics, separated by commas.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@json_option
@click.pass_obj
def lag(invocation: Invocation, group: str | None, topics: str | None, watch: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show the consumer lag of each partition.

    Lag is the number of messages that the group still has to read. Also shows the rates at which messages arrive and
    are read, and the time to catch up.

    \b
    Example:
        complaints monitor lag --watch
        complaints monitor lag --topics complaints-input --json
    """
    from monitoring.stream_status import lag as lag_of
    from streaming.kafka.address import broker_address

    settings = invocation.settings(uses_tables=False)
    address = broker_address(settings)
    names = [name.strip() for name in (topics or settings.kafka.input.name).split(",")]
    while True:
        found = [one for name in names for one in lag_of(settings.kafka, address, group or settings.kafka.group, name)]
        rows = [asdict(one) | {"seconds_to_catch_up": one.seconds_to_catch_up} for one in found]
        if as_json:
            print_json({"partitions": rows, "lag": sum(one.lag for one in found)})
        else:
            if watch:
                click.clear()  # which a file or a pipe ignores
            print_grid(list(rows[0]), [[_rounded(value) for value in row.values()] for row in rows])
            click.echo(f"lag {sum(one.lag for one in found):,}")
        if not watch:
            return


@monitor.command()
@json_option
@click.pass_obj
def health(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show whether the stream runs and its batch times.

    For each query: the last batch, its age, and the batch times of the last ten minutes. Exits with 1 when no stream
    runs.

    \b
    Example:
        complaints monitor health
    """
    from monitoring.stream_status import HEALTH, is_written

    running = is_written(invocation.settings())
    _print_recent(invocation, HEALTH, as_json=as_json, extra={"running": running})
    if not running:
        terminal().print("No stream runs on this lake: start one with `complaints stream`.")
        sys.exit(1)


@monitor.command()
@json_option
@click.pass_obj
def throughput(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show rows and batches per minute and query.

    Covers the last ten minutes.

    \b
    Example:
        complaints monitor throughput
    """
    from monitoring.stream_status import THROUGHPUT

    _print_recent(invocation, THROUGHPUT, as_json=as_json)


@monitor.command()
@json_option
@click.pass_obj
def latency(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show the latency from Kafka to the decision.

    In milliseconds from a message's Kafka timestamp to its scoring, by minute, for the last ten minutes.

    \b
    Example:
        complaints monitor latency
    """
    from monitoring.stream_status import LATENCY

    _print_recent(invocation, LATENCY, as_json=as_json)


@monitor.command()
@json_option
@click.pass_obj
def distribution(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show the distribution of recent decisions.

    Decisions by urgency, team and score: the last ten minutes compared with the last hour.

    \b
    Example:
        complaints monitor distribution
    """
    from monitoring.stream_status import DISTRIBUTION

    _print_recent(invocation, DISTRIBUTION, as_json=as_json)


@monitor.command()
@json_option
@click.pass_obj
def samples(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show the latest decisions with their reasons.

    Shows at most five, from the last ten minutes.

    \b
    Example:
        complaints monitor samples
    """
    from monitoring.stream_status import SAMPLES

    _print_recent(invocation, SAMPLES, as_json=as_json)


def _print_recent(
    invocation: Invocation, statement: str, *, as_json: bool, extra: Mapping[str, object] = MappingProxyType({})
) -> None:
    from monitoring.stream_status import recent

    result = recent(invocation.settings(), statement)
    if as_json:
        print_json({"columns": result.columns, "rows": result.rows, **extra})
    elif result.rows:
        print_grid(result.columns, result.rows)
    else:
        click.echo("There is no data for the last minutes.")


def _rounded(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value


@monitor.command()
@json_option
@click.pass_obj
def alerts(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Evaluate the alert rules of conf/alerts.yaml.

    On Kafka and the tables. Alerts that fire are posted to the setting alerts.webhook, where it is set. A running
    stream does the same every alerts.minutes. Exits with 1 when an alert fires.

    \b
    Example:
        complaints monitor alerts
    """
    from monitoring.alert_watch import current_alerts
    from monitoring.alerts import load_alerts, send

    settings = invocation.settings()
    found = current_alerts(settings, load_alerts())
    firing = [alert for alert in found if alert.fires]
    if firing and settings.alerts.webhook:
        send(firing, settings.alerts.webhook.get_secret_value())
    if as_json:
        print_json({"alerts": [asdict(alert) for alert in found]})
    else:
        shown = [
            (one.id, _state(one), short_number(one.value), f"{one.above:g}", one.says if one.fires else one.reason)
            for one in found
        ]
        print_grid(("alert", "", "value", "above", "what it means"), shown)
    if firing:
        sys.exit(1)


def _state(alert: "Alert") -> str:
    if alert.fires:
        return "FIRES"
    if alert.value is None:
        return "not measured" if alert.reason else "not enough data yet"
    return "ok"
