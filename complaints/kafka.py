"""`complaints topics` and `complaints produce`: manage the two topics, and send complaints at a given rate."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from complaints import Invocation, json_option, print_grid, print_json
from complaints.load import SAMPLES
from complaints.progress import progress
from complaints.stream import rate_option, share_option, stopping
from lakehouse.errors import ComplaintsError

if TYPE_CHECKING:
    from streaming.kafka.generator import Generator, Message
    from streaming.kafka.producer import ProduceReport
    from streaming.kafka.producer import Progress as Sent
    from streaming.kafka.topics import TopicState

MINUTES = 5.0
DETAILS = ("partitions", "replication", "retention.ms", "max.message.bytes", "cleanup.policy")


@click.group()
def topics() -> None:
    """Inspect and manage the two Kafka topics.

    These are the input topic and the predictions topic, compared with what the settings declare.

    \b
    Example:
        complaints topics list
    """


@topics.command(name="list")
@json_option
@click.pass_obj
def list_(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """List the topics and how they differ from the settings.

    Shows each topic's partitions, replication, retention and number of messages.

    \b
    Example:
        complaints topics list --json
    """
    states = _states(invocation)
    if as_json:
        print_json({"topics": [_as_json(state) for state in states]})
        return
    rows = [(state.name, *(state.settings.get(name) for name in DETAILS[:3]), state.messages) for state in states]
    print_grid(("topic", *DETAILS[:3], "messages"), rows)
    for state in states:
        for sentence in state.differences:
            click.echo(sentence)


@topics.command()
@json_option
@click.pass_obj
def describe(invocation: Invocation, as_json: bool) -> None:  # noqa: FBT001
    """Show the topics' settings and offsets.

    Shows every setting, the first and last offset of each partition, and how the topics differ from the settings.

    \b
    Example:
        complaints topics describe
    """
    states = _states(invocation)
    if as_json:
        print_json({"topics": [_as_json(state) for state in states]})
        return
    for state in states:
        click.secho(state.name, bold=True)
        click.echo("   ".join(f"{name} {state.settings[name]}" for name in DETAILS if name in state.settings))
        print_grid(("partition", "begin", "end"), [(p, *ends) for p, ends in state.offsets.items()], numbers=True)
        for sentence in state.differences:
            click.echo(sentence)


@topics.command()
@click.pass_obj
def create(invocation: Invocation) -> None:
    """Create the missing topics as the settings declare them.

    Topics that exist are left as they are. The broker is that of kafka.bootstrap_servers, or the embedded broker of a
    running stream.

    \b
    Example:
        complaints topics create
    """
    from streaming.kafka.address import broker_address
    from streaming.kafka.topics import ensure_topics

    settings = invocation.settings(uses_tables=False)
    for sentence in ensure_topics(settings.kafka, broker_address(settings)) or ["Both topics are as declared."]:
        click.echo(sentence)


@topics.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def delete(invocation: Invocation, /, name: str, yes: bool) -> None:  # noqa: FBT001
    """Delete a topic and every message in it.

    Asks for confirmation first. Rows that are already in bronze stay. A stream that reads the topic stops, and so does
    a stream started later with the old checkpoint, because the new topic's offsets start again.

    \b
    Example:
        complaints topics delete complaints-predictions
    """
    from streaming.kafka.address import broker_address
    from streaming.kafka.topics import delete_topic

    settings = invocation.settings(uses_tables=False)
    servers = broker_address(settings)
    if not yes:
        click.confirm(f"Delete the topic {name} at {servers} with every message in it?", abort=True)
    delete_topic(settings.kafka, servers, name)
    click.echo(f"The topic {name} was deleted.")


def _states(invocation: Invocation) -> list["TopicState"]:
    from streaming.kafka.address import broker_address
    from streaming.kafka.topics import describe_topics

    settings = invocation.settings(uses_tables=False)
    return describe_topics(settings.kafka, broker_address(settings))


def _as_json(state: "TopicState") -> dict[str, object]:
    offsets = [{"partition": p, "begin": begin, "end": end} for p, (begin, end) in state.offsets.items()]
    return {**asdict(state), "offsets": offsets, "messages": state.messages}


@click.command()
@rate_option("Messages to send per minute.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0.001),
    metavar="MINUTES",
    show_default=f"{MINUTES:.0f}; with files, until all is sent",
    help="How long to send, in minutes.",
)
@click.option(
    "--source",
    metavar="SOURCE",
    default="generated",
    show_default=True,
    help="What to send: `generated` (new complaints made from the samples), `samples` (the samples themselves), or the "
    "path of an export file.",
)
@share_option("--malformed", "Share of messages that cannot be used.")
@share_option("--duplicates", "Share of messages that repeat a complaint.")
@share_option("--late", "Share of complaints received a month or more ago.")
@share_option("--updated", "Share of messages that add an outcome to a complaint.")
@json_option
@click.pass_obj
def produce(
    invocation: Invocation,
    /,
    rate: float,
    duration: float | None,
    source: str,
    as_json: bool,  # noqa: FBT001
    **shares: float,
) -> None:
    """Send complaints to the input topic at a given rate.

    --malformed, --duplicates, --late and --updated apply to generated complaints only. Ctrl-C stops, and the messages
    sent until then are still counted exactly. Exits with 1 when a message was not acknowledged.

    \b
    Example:
        complaints produce --rate 10000 --duration 5 --malformed 0.01
        complaints produce --source complaints.csv.zip
    """
    from streaming.kafka.address import broker_address
    from streaming.kafka.producer import Producer

    settings = invocation.settings(uses_tables=False)
    address = broker_address(settings)
    messages = _messages(source, shares)
    if duration is None and source == "generated":
        duration = MINUTES
    total = None if duration is None else round(rate * duration)
    with stopping() as stop, _Bar(total) as bar:
        report = Producer(settings.kafka, address).produce(
            messages, rate_per_minute=rate, total=total or sys.maxsize, stop=stop, on_progress=bar.update
        )
    _print_report(report, as_json=as_json)
    if report.failed:
        sys.exit(1)


def _messages(source: str, shares: dict[str, float]) -> Iterable["Message"]:
    from bronze.load import files_of
    from streaming.kafka.sources import messages_of

    if source == "generated":
        return _generator(shares)
    if any(shares.values()):
        msg = "--malformed, --duplicates, --late and --updated need --source generated: files are sent as they are."
        raise click.UsageError(msg)
    paths = files_of([SAMPLES if source == "samples" else Path(source)])
    if not paths[0].exists():
        msg = f"There is no file {source}: --source is generated, samples, or an export file."
        raise ComplaintsError(msg)
    return messages_of(paths)


def _generator(shares: dict[str, float]) -> "Generator":
    from bronze.load import files_of
    from streaming.kafka.generator import Generator, Mix, read_rows

    now = datetime.now(UTC)
    # Milliseconds as the first id: above every id of earlier calls, as long as they sent under 1,000 per second.
    now_ms = time.time_ns() // 1_000_000
    return Generator(read_rows(files_of([SAMPLES])), Mix(**shares), seed=now_ms, first_id=now_ms, start=now.date())


class _Bar:
    """The progress bar of a producer run, with the achieved rate; `total` is None when it is not known."""

    def __init__(self, total: int | None) -> None:
        columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = progress(*columns, TimeElapsedColumn())
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, sent: "Sent") -> None:
        """Show the progress."""
        rate = 60 * sent.sent / sent.seconds if sent.seconds else 0.0
        latency = sent.latency_ms
        text = f"{rate:,.0f} per minute, {sent.in_flight:,} in flight, acknowledged in {latency:,.0f} ms"
        self._progress.update(self._task, completed=sent.sent, description=text)


def _print_report(report: "ProduceReport", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.items())
    click.echo(f"{report.sent:,} messages acknowledged ({kinds or 'none'}) in {report.seconds:.1f} s")
    click.echo(
        f"{report.rate_per_minute:,.0f} per minute, acknowledged in p50 {report.latency_ms['p50']:.0f} ms, "
        f"p99 {report.latency_ms['p99']:.0f} ms"
    )
    for reason, count in report.failed.items():
        click.echo(f"{count:,} NOT acknowledged: {reason}")
