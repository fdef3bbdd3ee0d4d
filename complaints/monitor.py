"""`complaints monitor`: how the stream does, from Kafka and gold, and what needs somebody."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help comes at once

import sys
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal

if TYPE_CHECKING:
    from lakehouse.settings import Settings
    from monitoring.alerts import Query


@click.group()
def monitor() -> None:
    """Watch a stream from beside it: lag, health, throughput, latency, decisions, alerts.

    \b
    Example:
        complaints monitor lag --group complaint_processor --topics complaints-input
        complaints monitor health
    """


@monitor.command()
@click.option("--group", help="Consumer group (default: kafka.group of the settings).")
@click.option("--topics", help="Topics, separated by commas (default: kafka.input of the settings).")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@json_option
@click.pass_obj
def lag(invocation: Invocation, group: str | None, topics: str | None, watch: bool, as_json: bool) -> None:  # noqa: FBT001
    """Messages that the group has still to read, by partition, with rates and the time to catch up.

    \b
    Example:
        complaints monitor lag --group complaint_processor --topics complaints-input --watch
    """
    from monitoring.stream_status import lag as lag_of
    from streaming.kafka.address import broker_address

    settings = invocation.settings()
    address = broker_address(settings)
    names = [name.strip() for name in (topics or settings.kafka.input.name).split(",")]
    while True:
        found = [one for name in names for one in lag_of(settings.kafka, address, group or settings.kafka.group, name)]
        rows = [asdict(one) | {"seconds_to_catch_up": one.seconds_to_catch_up} for one in found]
        if as_json:
            print_json({"partitions": rows, "lag": sum(one.lag for one in found)})
        else:
            print_grid(list(rows[0]), [[_rounded(value) for value in row.values()] for row in rows])
            click.echo(f"lag {sum(one.lag for one in found):,}")
        if not watch:
            return


@monitor.command()
@json_option
@click.pass_obj
def health(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Each query's last batch, its age, and batch times of the last ten minutes; exits with 1 when no stream runs.

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
    """Rows and batches by minute and query, of the last ten minutes.

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
    """Milliseconds from a message's Kafka timestamp to its scoring, by minute, of the last ten minutes.

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
    """Decisions by urgency, team and score: the last ten minutes beside the last hour.

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
    """The latest decisions with their reasons.

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
        click.echo("Nothing happened in the last minutes.")


def _rounded(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value


@monitor.command()
@json_option
@click.pass_obj
def alerts(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Evaluate the rules of conf/alerts.yaml on gold; exits with 1 when one fires, and posts those to alerts.webhook.

    \b
    Example:
        complaints monitor alerts
    """
    from monitoring.alerts import evaluated, load_alerts, send

    settings = invocation.settings()
    found = evaluated(_query(settings), load_alerts())
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


def _query(settings: "Settings") -> "Query":
    """By DuckDB on a laptop, beside whatever runs; by Spark on a cluster, which has no DuckDB."""
    from streaming.tables import TABLES

    if settings.is_local:
        from lakehouse.sql.query import query

        return lambda statement: query(settings, TABLES, statement, seconds=settings.sql.seconds).rows
    from lakehouse.spark.session import start_session
    from lakehouse.sql.cluster import cluster_query
    from lakehouse.tables.lake import Lake

    lake = Lake(start_session(settings), settings)
    return lambda statement: cluster_query(lake, TABLES, statement)


def _state(fires: bool, value: float | None) -> str:  # noqa: FBT001
    if value is None:
        return "not enough data yet"
    return "FIRES" if fires else "fine"
