"""What a run's decisions are on Kafka: read back, each complaint once, with how long it took to get there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from kafka import KafkaConsumer, TopicPartition

from streaming.report import Span

_RECORD_PARTS = 2  # slashes in the record id of a message: topic/partition/offset


@dataclass(frozen=True)
class Wait:
    """How long one complaint waited for its decision to be published, from its own arrival on Kafka."""

    since: datetime
    milliseconds: float


def published(
    consumer: KafkaConsumer, topic: str, begin: Mapping[int, int], end: Mapping[int, int], span: Span
) -> dict[str, Wait]:
    """By record, how long the complaints of a run waited until their decisions were sent to Kafka.

    Args:
        consumer: that reads the topic.
        topic: the predictions topic.
        begin: partition to the first offset that may hold one.
        end: partition to the one after the last.
        span: the run.
    """
    ends = {TopicPartition(topic, partition): offset for partition, offset in end.items()}
    consumer.assign(list(ends))
    for position in ends:
        consumer.seek(position, begin.get(position.partition, 0))
    found: dict[str, Wait] = {}
    waiting = {position for position, last in ends.items() if begin.get(position.partition, 0) < last}
    for message in consumer if waiting else ():
        decision = None if message.value is None else json.loads(message.value)  # none: the complaint was erased
        if decision is not None and _is_of(span, decision["record_id"]):
            since = _utc(decision["kafka_timestamp"])
            elapsed = message.timestamp - since.timestamp() * 1000
            found.setdefault(decision["record_id"], Wait(since, elapsed))  # published again: the first counts
        position = TopicPartition(topic, message.partition)
        if message.offset + 1 >= ends[position]:
            waiting.discard(position)
        if not waiting:
            break
    return found


def _is_of(span: Span, record_id: str) -> bool:
    if record_id.count("/") < _RECORD_PARTS:
        return False
    source, partition, offset = record_id.rsplit("/", 2)
    return source == span.topic and int(offset) >= span.begin.get(int(partition), 0)


def _utc(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
