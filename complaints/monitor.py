"""`complaints monitor`: the stream's health, Kafka's topics and groups, recent decisions, and alerts."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from complaints import Function, Invocation, json_option, print_grid, print_json, terminal
from complaints.cells import short_number
from lakehouse.errors import ComplaintsError

if TYPE_CHECKING:
    from monitoring.alerts import Alert
    from monitoring.health import Health
    from monitoring.stream_status import Period, View

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Duration(click.ParamType[timedelta]):
    """A duration with its unit, such as 30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """Return the duration; refuses one without a unit, or of nothing."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,5})([smhd])", value.strip())
        if not found or not int(found[1]):
            self.fail(f"{value!r} is not a number and a unit, such as 30m, 2h or 1d.", param, ctx)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


def window_option(function: Function) -> Function:
    """Add the option --window."""
    return click.option(
        "--window",
        type=Duration(),
        metavar="DURATION",
        show_default="the latest ten minutes that have data",
        help="The time up to now, with its unit: 90s, 30m, 2h or 1d.",
    )(function)


topics_option = click.option(
    "--topics", metavar="NAMES", show_default="the setting kafka.input", help="Topics, separated by commas."
)


@click.group()
def monitor() -> None:
    """Monitor the stream: health, Kafka, latency and alerts.

    The commands read Kafka's offsets and the tables while the stream runs, and do not disturb it.

    \b
    Example:
        complaints monitor health
        complaints monitor lag --watch
    """


@monitor.command()
@click.option("--group", metavar="NAME", show_default="the setting kafka.group", help="Consumer group.")
@topics_option
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@json_option
@click.pass_obj
def lag(invocation: Invocation, group: str | None, topics: str | None, watch: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show the consumer lag of each partition.

    Lag is the number of messages that the group still has to read. Also shows the rates at which messages arrive and
    are read, and the time to catch up. Exits with 1 when there is no such group.

    \b
    Example:
        complaints monitor lag --watch
        complaints monitor lag --topics complaints-input --json
    """
    from monitoring.kafka_status import group_exists
    from monitoring.kafka_status import lag as lag_of
    from streaming.kafka.address import broker_address

    settings = invocation.settings(uses_tables=False)
    address, name = broker_address(settings), group or settings.kafka.group
    wanted = _names(topics, settings.kafka.input.name)
    while True:
        found = [one for topic in wanted for one in lag_of(settings.kafka, address, name, topic)]
        exists = group_exists(settings.kafka, address, name)
        if group and not exists:
            msg = f"There is no consumer group {group} at {address}: `complaints monitor groups` lists those there are."
            raise ComplaintsError(msg)
        rows = [asdict(one) | {"seconds_to_catch_up": one.seconds_to_catch_up} for one in found]
        if as_json:
            print_json(
                {"group": name, "group_exists": exists, "partitions": rows, "lag": sum(one.lag for one in found)}
            )
        else:
            if watch:
                click.clear()  # which a file or a pipe ignores
            print_grid(list(rows[0]), [[_rounded(value) for value in row.values()] for row in rows])
            click.echo(f"lag {sum(one.lag for one in found):,}")
        if not exists:
            terminal().print(f"There is no consumer group {name} yet: nothing was read, so every message is lag.")
        if not watch:
            break
    if not exists:
        sys.exit(1)


@monitor.command()
@click.option(
    "--topics",
    metavar="NAMES",
    show_default="the settings kafka.input and kafka.predictions",
    help="Topics, separated by commas.",
)
@json_option
@click.pass_obj
def topics(invocation: Invocation, topics: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show each topic's offsets, messages, size and retention.

    By partition. The size is that of one replica, and empty when the broker does not say; a compacted topic has fewer
    messages than the offsets between its begin and its end.

    \b
    Example:
        complaints monitor topics
    """
    from monitoring.kafka_status import partitions
    from streaming.kafka.address import broker_address

    settings = invocation.settings(uses_tables=False)
    kafka = settings.kafka
    found = partitions(kafka, broker_address(settings), _names(topics, kafka.input.name, kafka.predictions.name))
    if as_json:
        print_json({"partitions": [asdict(one) for one in found]})
        return
    rows = [
        [f"{value:,}" if isinstance(value, int) else value for value in asdict(partition).values()]
        for partition in found
    ]
    print_grid(list(asdict(found[0])), rows)


@monitor.command()
@json_option
@click.pass_obj
def groups(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """List the consumer groups with state and lag by topic.

    The stream's own group is Empty also while it runs: the stream commits what its checkpoint has read, for tools that
    show the lag, and has no members.

    \b
    Example:
        complaints monitor groups
    """
    from monitoring.kafka_status import groups as groups_of
    from streaming.kafka.address import broker_address

    settings = invocation.settings(uses_tables=False)
    address = broker_address(settings)
    found = groups_of(settings.kafka, address)
    if as_json:
        print_json({"groups": [asdict(one) for one in found]})
    elif found:
        print_grid(list(asdict(found[0])), [tuple(asdict(one).values()) for one in found])
    else:
        click.echo(f"There are no consumer groups at {address}.")


def _names(given: str | None, *default: str) -> list[str]:
    return [name.strip() for name in given.split(",")] if given else list(default)


@monitor.command()
@json_option
@click.pass_obj
def health(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show whether the stream runs and each query is alive.

    Names the process that writes the lake and the model's version. For each query: its state, its restarts and its
    batch times in the latest ten minutes with data; then what waits in Kafka, the share of quarantined rows, and how
    old the newest row of each layer is. Exits with 1 when no stream runs, or a query is restarting or without progress.

    \b
    Example:
        complaints monitor health
    """
    from monitoring.health import health as health_of

    found = health_of(invocation.settings())
    if as_json:
        answer = {**asdict(found), "running": found.is_running, "quarantined_share": found.quarantined_share}
        print_json(answer)
    else:
        _print_health(found)
    for problem in found.problems:
        terminal().print(problem, soft_wrap=True, markup=False)
    if found.problems:
        sys.exit(1)


def _print_health(found: "Health") -> None:
    if found.is_running:
        click.echo(
            f"{found.process}, since {found.started_at:%Y-%m-%d %H:%M:%S} UTC, with {found.model or 'no model yet'}"
        )
    print_grid(list(asdict(found.queries[0])), [tuple(asdict(one).values()) for one in found.queries])
    waiting = "no broker to ask" if found.unread is None else f"{found.unread:,} messages"
    click.echo(f"not read from Kafka yet: {waiting}")
    share = "no rows" if found.quarantined_share is None else f"{found.quarantined_share:.1%} of {found.refined:,} rows"
    click.echo(f"quarantined: {share}")
    ages = (f"{layer} {_age(at)}" if at else f"{layer} none" for layer, at in found.newest.items())
    click.echo(f"newest row: {', '.join(ages)}")


@monitor.command()
@window_option
@json_option
@click.pass_obj
def throughput(invocation: Invocation, window: timedelta | None, as_json: bool) -> None:  # noqa: FBT001
    """Show rows and batches per minute and query.

    \b
    Example:
        complaints monitor throughput --window 1h
    """
    from monitoring.stream_status import THROUGHPUT

    _print_period(invocation, THROUGHPUT, window, as_json=as_json)


@monitor.command()
@window_option
@json_option
@click.pass_obj
def latency(invocation: Invocation, window: timedelta | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the latency from Kafka to the decision.

    In milliseconds from a message's Kafka timestamp to its scoring, by minute.

    \b
    Example:
        complaints monitor latency --window 1h
    """
    from monitoring.stream_status import LATENCY

    _print_period(invocation, LATENCY, window, as_json=as_json)


@monitor.command()
@window_option
@json_option
@click.pass_obj
def distribution(invocation: Invocation, window: timedelta | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the distribution of recent decisions.

    Decisions by urgency, team and score: those of the window, and those of the five windows before it.

    \b
    Example:
        complaints monitor distribution --window 1d
    """
    from monitoring.stream_status import DISTRIBUTION

    _print_period(invocation, DISTRIBUTION, window, as_json=as_json)


@monitor.command()
@window_option
@json_option
@click.pass_obj
def samples(invocation: Invocation, window: timedelta | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the latest decisions with their reasons.

    Shows at most five.

    \b
    Example:
        complaints monitor samples
    """
    from monitoring.stream_status import SAMPLES

    _print_period(invocation, SAMPLES, window, as_json=as_json)


def _print_period(invocation: Invocation, view: "View", window: timedelta | None, *, as_json: bool) -> None:
    from monitoring.stream_status import looked

    found = looked(invocation.settings(), view, window)
    if as_json:
        times = {"since": found.since, "until": found.until, "newest": found.newest}
        print_json({"columns": found.result.columns, "rows": found.result.rows, **times})
        return
    if found.result.rows:
        print_grid(found.result.columns, found.result.rows)
    click.echo(_described(found))


def _described(found: "Period") -> str:
    """Return what the period is, and where the newest data is."""
    if found.newest is None:
        return "There is no data yet."
    period = f"{found.since:%Y-%m-%d %H:%M:%S} to {found.until:%Y-%m-%d %H:%M:%S} UTC"
    newest = f"the newest is {_age(found.newest)}, of {found.newest:%Y-%m-%d %H:%M:%S} UTC"
    return f"from {period}; {newest}" if found.result.rows else f"There is no data from {period}; {newest}."


def _age(at: datetime) -> str:
    """Return how long ago a time in UTC without a zone was."""
    seconds = max(0, round((datetime.now(UTC).replace(tzinfo=None) - at).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


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
