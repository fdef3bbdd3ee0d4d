"""What alert rules measure besides the tables: Kafka's end offsets against the checkpoint, and a stream's silence.

How much waits in Kafka is never taken from what the stream reports about itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from streaming.kafka.address import broker_address
from streaming.kafka.topics import describe_topics
from streaming.queries.checkpoints import read_offsets, running_progress
from streaming.status import QUERIES, read_status

MeasureName = Literal["unread_messages", "unread_minutes", "stream_silent_minutes", "dead_queries"]


@dataclass(frozen=True)
class Reading:
    """A measured value; None with the reason if there is nothing to measure."""

    value: float | None
    reason: str = ""


Measure = Callable[[MeasureName], Reading]


def measured(settings: Settings, name: MeasureName) -> Reading:
    """Measure one value now.

    Raises:
        ComplaintsError: the brokers that the settings name can't be reached, or the checkpoint is damaged.
    """
    return _MEASURES[name](settings, datetime.now(UTC))


def unread_messages(settings: Settings) -> int:
    """Return the messages of the input topic that the ingest query has not read, by Kafka and the checkpoint.

    Raises:
        ComplaintsError: no broker runs or it can't be reached, the topic doesn't exist, or the checkpoint is damaged.
    """
    servers = broker_address(settings)
    read = read_offsets(settings, servers) or {}  # before the end offsets, which only grow
    (topic,) = (one for one in describe_topics(settings.kafka, servers) if one.name == settings.kafka.input.name)
    if not topic.settings:
        raise ComplaintsError(topic.differences[0])
    return sum(max(0, end - max(begin, read.get(number, begin))) for number, (begin, end) in topic.offsets.items())


def _unread_messages(settings: Settings, _: datetime) -> Reading:
    if settings.kafka.bootstrap_servers is None:
        try:
            broker_address(settings)
        except ComplaintsError:
            return Reading(None, "no broker: no stream runs, and kafka.bootstrap_servers is not set")
    return Reading(float(unread_messages(settings)))


def _unread_minutes(settings: Settings, now: datetime) -> Reading:
    """Minutes since the ingest query last read anything, while messages wait; 0 while none do."""
    waiting = _unread_messages(settings, now)
    if not waiting.value:
        return waiting
    done = running_progress(settings, "ingest").done
    if done is None:
        return Reading(None, "nothing was ever read")
    commit = settings.folder / "checkpoints" / "ingest" / "commits" / str(done)
    return Reading(_minutes(now - datetime.fromtimestamp(commit.stat().st_mtime, UTC)))


def _stream_silent_minutes(settings: Settings, now: datetime) -> Reading:
    """Minutes since a stream last reported that failed or fell silent without being stopped; 0 without one."""
    status = read_status(settings.folder)
    return Reading(_minutes(now - status.at) if status and status.is_silent(now) else 0.0)


def _dead_queries(settings: Settings, now: datetime) -> Reading:
    """Number of the running stream's queries that are not active; 0 without a stream."""
    status = read_status(settings.folder)
    if status is None or status.phase != "running" or status.is_silent(now):
        return Reading(0.0)
    return Reading(float(sum(status.state_of(name, now) != "active" for name in QUERIES)))


def _minutes(time: timedelta) -> float:
    return round(max(0.0, time.total_seconds() / 60), 1)


_MEASURES: Mapping[MeasureName, Callable[[Settings, datetime], Reading]] = {
    "unread_messages": _unread_messages,
    "unread_minutes": _unread_minutes,
    "stream_silent_minutes": _stream_silent_minutes,
    "dead_queries": _dead_queries,
}
