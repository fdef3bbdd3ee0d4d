"""`complaints stream` and `complaints run`: the live queries, until stopped or for some minutes with a report."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from complaints import Function, Invocation, json_option, print_json, terminal
from complaints.load import SAMPLES
from lakehouse.json_values import as_json

if TYPE_CHECKING:
    from lakehouse.settings import Settings
    from streaming.kafka.generator import Mix
    from streaming.runs.run import View
    from streaming.service.live import Handover


def rate_option(text: str, default: float = 10_000) -> Callable[[Function], Function]:
    """Return the option --rate with this help text."""
    return click.option(
        "--rate", type=click.FloatRange(min=1), default=default, show_default=True, metavar="PER_MINUTE", help=text
    )


def share_option(name: str, text: str, default: float = 0.0) -> Callable[[Function], Function]:
    """Return an option for a share, from 0 to 1, with this help text."""
    return click.option(
        name, type=click.FloatRange(0, 1), default=default, show_default=True, metavar="SHARE", help=text
    )


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; a second Ctrl-C raises KeyboardInterrupt."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command()
@click.option(
    "--duration",
    type=click.FloatRange(min=0.01),
    metavar="MINUTES",
    show_default="never",
    help="When to stop, in minutes from the start.",
)
@click.option("--standby", is_flag=True, help="Wait, warmed up, while another stream runs; take over when it ends.")
@click.pass_obj
def stream(invocation: Invocation, /, duration: float | None, standby: bool) -> None:  # noqa: FBT001
    """Run the streaming queries until Ctrl-C or SIGTERM.

    They read complaints from Kafka, write bronze, silver and gold, and publish decisions to Kafka. Set
    COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS to the broker's address; without it, an embedded broker is started on 127.0.0.1.

    \b
    Example:
        complaints stream
        complaints stream --standby
    """
    from lakehouse.spark.session import start_ahead
    from lakehouse.tables.lake import writer_lock

    settings = invocation.settings()
    lock = None if standby else writer_lock(settings)  # refused before the slow start of Spark
    start_ahead(settings)

    from lakehouse.logs import notifier
    from monitoring.alert_watch import alert_watch
    from streaming.service.live import Handover, LiveStream

    notify = notifier(settings, sys.stderr, terminal().print)
    with stopping() as stop:
        handover = Handover(lock) if lock else _wait_as_standby(settings, notify, stop)
        if handover is None:
            return
        with LiveStream(settings, notify, handover, alert_watch(settings, notify)) as live:
            notify(f"Streaming from {live.bootstrap_servers}; Ctrl-C finishes the current batches and stops.")
            end = time.monotonic() + duration * 60 if duration else float("inf")
            while time.monotonic() < end and not stop.wait(0.5):
                live.tick()
            notify("Stopping.")


def _wait_as_standby(settings: "Settings", notify: Callable[[str], None], stop: threading.Event) -> "Handover | None":
    from bronze.load import files_of
    from streaming.service.standby import stand_by

    return stand_by(settings, files_of([SAMPLES]), notify, stop)


@click.command()
@rate_option("Complaints to send per minute.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0.01),
    default=5,
    show_default=True,
    metavar="MINUTES",
    help="How long to send, in minutes.",
)
@share_option("--malformed", "Share of messages that cannot be used.")
@share_option("--duplicates", "Share of messages that repeat a complaint.")
@share_option("--late", "Share of complaints that the CFPB received months ago.")
@share_option("--updated", "Share of messages that add an outcome to a complaint.")
@json_option
@click.pass_obj
def run(
    invocation: Invocation,
    /,
    rate: float,
    duration: float,
    as_json: bool,  # noqa: FBT001
    **shares: float,
) -> None:
    """Stream generated complaints and account for each one.

    Starts the broker and the queries, creates the topics, sends complaints made from the samples, and counts them in
    every layer. The report also goes to <root>/reports. Exits with 1 when the counts do not balance.

    \b
    Example:
        complaints run --rate 10000 --duration 5
    """
    from streaming.kafka.generator import Mix

    report = run_plan(invocation, rate, duration, Mix(**shares))
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if not report["complete"]:
        sys.exit(1)


def run_plan(invocation: Invocation, rate: float, duration: float | None, mix: "Mix", note: str = "") -> dict[str, Any]:
    """Run with a live view; write the report to <root>/reports and return it.

    Args:
        invocation: the options before the command.
        rate: complaints per minute.
        duration: minutes to send; None sends until Ctrl-C.
        mix: shares of messages other than new complaints.
        note: text that stays below the view.
    """
    from bronze.load import files_of
    from streaming.runs.run import ENDLESS, Plan
    from streaming.runs.run import run as run_stream

    settings = invocation.settings()
    total = ENDLESS if duration is None else round(rate * duration)
    plan = Plan(rate, total, tuple(files_of([SAMPLES])), mix)
    console = terminal()
    with stopping() as stop, Live(console=console, auto_refresh=False, transient=True) as live:
        report = run_stream(
            settings,
            plan,
            notify=lambda sentence: live.console.print(sentence, markup=False, soft_wrap=True),
            on_view=lambda view: live.update(grid(view, note), refresh=True),
            stop=stop,
        ).as_json()
    path = _stored_report(settings.folder / "reports", report)
    console.print(f"Report: {path}", soft_wrap=True)
    return report


def _stored_report(folder: Path, report: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{time.monotonic_ns() % 1000:03d}.json"
    path.write_text(as_json(report, indent=2) + "\n", encoding="utf-8")
    return path


def grid(view: "View", note: str = "") -> Group:
    """Return the current state of a run as a table for the terminal, with a note below it."""
    from streaming.runs.run import ENDLESS

    of = "" if view.total == ENDLESS else f" of {view.total:,}"
    title = f"{view.phase}: {view.sent:,}{of} sent"
    grid = Grid("query", "rows", "last batch", box=None, title=title)
    for query, rows in view.rows.items():
        grid.add_row(query, f"{rows:,}", f"{view.last_batch_ms[query]:,} ms")
    return Group(grid, Text(note))  # not the caption: the narrow table would break an address into lines


def print_report(report: dict[str, Any]) -> None:
    """Print a run's report as text."""
    layers = ("sent", "bronze", "silver", "quarantined", "duplicates", "gold", "published")
    click.echo("   ".join(f"{name} {report[name]:,}" for name in layers))
    click.echo("every message is accounted for" if report["complete"] else "THE COUNTS DO NOT BALANCE")
    click.echo(
        f"sent at {report['rate_per_minute']:,.0f} per minute; times exclude the first {report['warm_up_s']:.0f} s"
    )
    waited = report["end_to_end_ms"]
    click.echo("Kafka to gold " + "   ".join(f"{name} {waited[name] / 1000:.1f} s" for name in waited))
    if report["end_to_end_complaints"] < report["gold"]:
        click.echo(f"  (of the latest {report['end_to_end_complaints']:,}: upkeep has dropped the older history)")
    for query, times in report["queries"].items():
        if not times["batches"]:
            continue  # the run was too short for this query
        spent = "   ".join(f"{name} {times[f'{name}_ms']:,.0f} ms" for name in ("p50", "p95", "p99", "max"))
        click.echo(f"{query:<10} {times['batches']:>5,} batches   {spent}")
