"""`complaints live`: sample complaints stream through Kafka while the dashboards show them, until Ctrl-C."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from complaints import Invocation
from complaints.demo import MIX
from complaints.stream import print_report, rate_option, run_plan
from complaints.superset import show_passwords, superset_of
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from dashboards.service import Superset

RATE = 600.0
BOARD = "real-time-monitoring"
ACCOUNT = "operator"


@click.command()
@rate_option("Complaints to send per minute.", RATE)
@click.pass_obj
def live(invocation: Invocation, rate: float) -> None:
    """Stream sample complaints with the dashboards up.

    Starts Superset, the broker and the queries, sends complaints made from the samples, some of them malformed,
    duplicated or updated, and shows the address of the dashboard that follows them. Ctrl-C stops the sending, accounts
    for each complaint sent, and stops all that was started. Needs a model: `complaints demo` trains one. Exits with 1
    when the counts do not balance.

    \b
    Example:
        complaints live
    """
    from streaming.kafka.generator import Mix

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it stops Superset too while that starts
    _refuse_early(invocation.settings())
    with _dashboards(invocation) as address:
        click.echo(f"Dashboard: {address} (account {ACCOUNT}); Ctrl-C stops everything.")
        report = run_plan(invocation, rate, None, Mix(**MIX), note=f"{address}\nCtrl-C stops everything")
        print_report(report)
    if not report["complete"]:
        sys.exit(1)


def _refuse_early(settings: Settings) -> None:
    """Raise what would stop the stream after Superset's slow start: no champion, or another writer."""
    from lakehouse.tables.lake import writer_lock
    from ml.registry.registry import Registry

    writer_lock(settings).release()
    Registry(settings).champion_version()


@contextmanager
def _dashboards(invocation: Invocation) -> Iterator[str]:
    """Yield the address of the live dashboard; a Superset that runs already keeps running afterwards."""
    server = superset_of(invocation)
    ran_before = server.status().healthy
    try:
        show_passwords(server.start())
        yield f"{server.url}/superset/dashboard/{BOARD}/"
    finally:
        if ran_before:
            click.echo("Superset was running before and still is: `complaints superset stop` stops it.")
        else:
            _stop(server)


def _stop(server: "Superset") -> None:
    """Stop Superset; another Ctrl-C must not leave it running."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.stop()
    signal.signal(signal.SIGINT, before)
