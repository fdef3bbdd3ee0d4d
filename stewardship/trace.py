"""Trace a complaint through all layers with times, from its Kafka message to its published decision.

Reads all layers and the predictions topic; works while a stream runs, and needs no Spark.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import TopicPartition

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from stewardship.locations import Step, erasures, records_of, steps
from streaming.kafka.address import broker_address
from streaming.kafka.topics import consumer_of

WAIT_MS = 5_000  # wait for the topic's next message; published messages arrive at once


@dataclass(frozen=True)
class Trace:
    """The history of a complaint.

    Attributes:
        complaint_id: id of the complaint.
        steps: steps in chronological order.
        note: why it is unknown whether the decision was published, or that it was not; None otherwise.
    """

    complaint_id: int
    steps: tuple[Step, ...]
    note: str | None

    def as_json(self) -> dict[str, Any]:
        """Return complaint_id, steps (step, at in UTC, record_id, what) and note."""
        return asdict(self)


def trace(settings: Settings, complaint_id: int) -> Trace:
    """Return the history of a complaint.

    Raises:
        ComplaintsError: there is no lake yet, the complaint doesn't exist, or it was erased.
    """
    records = records_of(settings, complaint_id)
    if not records:
        raise unknown(settings, complaint_id)
    found = steps(settings, complaint_id, records)
    decided = [step for step in found if step.step == "decision" and step.at]
    if not decided:
        return Trace(complaint_id, tuple(found), None)
    published, note = _published(settings, complaint_id, decided[0])
    return Trace(complaint_id, (*found, *published), note)


def unknown(settings: Settings, complaint_id: int) -> ComplaintsError:
    """Return the error for a complaint that doesn't exist or was erased."""
    gone = [row["erased_at"] for row in erasures(settings, complaint_id) if row["erased_at"]]
    if gone:
        return ComplaintsError(f"The complaint {complaint_id} was erased on {max(gone):%Y-%m-%d at %H:%M} UTC.")
    return ComplaintsError(f"There is no complaint {complaint_id} in {settings.folder}, nor in its quarantine.")


def _published(settings: Settings, complaint_id: int, decision: Step) -> tuple[Iterable[Step], str | None]:
    try:
        servers = broker_address(settings)
    except ComplaintsError as error:
        return (), f"Whether the decision was published is unknown: {error}"
    topic = settings.kafka.predictions.name
    with consumer_of(settings.kafka, servers, wait_ms=WAIT_MS) as consumer:
        positions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        since = round((decision.at or datetime.now(UTC)).replace(tzinfo=UTC).timestamp() * 1000)
        begins = consumer.offsets_for_times(dict.fromkeys(positions, since)) if positions else {}
        ends = consumer.end_offsets(positions) if positions else {}
        reading = {p: begins[p].offset for p in positions if begins.get(p) and begins[p].offset < ends[p]}
        consumer.assign(list(reading))
        for position, begin in reading.items():
            consumer.seek(position, begin)
        for message in consumer if reading else ():
            if message.key == str(complaint_id).encode():
                place = f"offset {message.offset} of {topic} partition {message.partition}"
                at = datetime.fromtimestamp(message.timestamp / 1000, UTC).replace(tzinfo=None)
                return (Step("published", at, decision.record_id, place),), None
            position = TopicPartition(topic, message.partition)
            if message.offset + 1 >= ends[position]:
                del reading[position]
            if not reading:
                break
    return (), f"It has no message on {topic}: it was scored without publishing, or Kafka has dropped the message."
