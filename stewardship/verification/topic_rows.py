"""Copy a topic's messages into a DuckDB table: coordinates, and a digest of each message's value.

Reads a topic from its first message or from a time on, in batches, up to its end offsets at the start.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition

from lakehouse.errors import ComplaintsError

PORTION = 5_000  # maximum messages per insert into DuckDB
PORTION_BYTES = 32 * 1024 * 1024
STALLED_SECONDS = 60.0
# Messages of aborted transactions are skipped. TCP already detects corruption on the network.
CLIENT: Mapping[str, Any] = {"isolation_level": "read_committed", "check_crcs": False}

MADE = """
    CREATE TABLE {table} ("partition" INTEGER, "offset" BIGINT, sent_ms BIGINT, complaint_id BIGINT, record UBIGINT,
                          content UHUGEINT)
"""
FILLED = """
    INSERT INTO {table}
    SELECT "partition", "offset", sent_ms, complaint_id,
           CASE WHEN json_valid(value) THEN hash(value ->> '$.record_id') END, md5_number(value)
    FROM portion
"""
ROW = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("sent_ms", pa.int64()),
        ("complaint_id", pa.int64()),
        ("value", pa.string()),
    ]
)


@dataclass(frozen=True)
class Kept:
    """What Kafka still has of a topic.

    Attributes:
        end: end offset by partition; empty if the topic doesn't exist.
        cut: partitions of which Kafka may have dropped messages within the requested period.
    """

    end: Mapping[int, int]
    cut: tuple[int, ...]


def make_table(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Create an empty table for messages.

    Its columns are partition, offset, sent_ms, complaint_id (the key), record (a hash of the record_id in the value),
    and content (a digest of the value, null if there is none).
    """
    connection.execute(MADE.format(table=table))


def read_topic(
    consumer: KafkaConsumer,
    topic: str,
    connection: duckdb.DuckDBPyConnection,
    table: str,
    *,
    since: datetime | None = None,
    on_rows: Callable[[int], None],
) -> Kept:
    """Copy a topic's messages into a table created by `make_table`.

    Args:
        consumer: a client with the options `CLIENT`, not used for anything else.
        topic: the topic; it may not exist.
        connection: connection to the database with the table.
        table: name of the table.
        since: read messages sent since then, with their values; None reads all messages, without values.
        on_rows: called with the number of messages read so far.

    Raises:
        ComplaintsError: Kafka returns no message for a minute.
    """
    positions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    if not positions:
        return Kept({}, ())
    begin, end = consumer.beginning_offsets(positions), consumer.end_offsets(positions)
    consumer.assign(positions)
    starts = _starts(consumer, begin, end, since)
    for position, start in starts.items():
        consumer.seek(position, start)
    done = 0
    for portion in _portions(consumer, end):
        rows = [_row(message, with_value=since is not None) for message in portion]
        connection.register("portion", pa.Table.from_pylist(rows, ROW))
        connection.execute(FILLED.format(table=table))
        connection.unregister("portion")
        done += len(rows)
        on_rows(done)
    cut = (position.partition for position, start in starts.items() if start == begin[position] > 0)
    return Kept({position.partition: offset for position, offset in end.items()}, tuple(cut))


def _starts(
    consumer: KafkaConsumer, begin: Mapping[Any, int], end: Mapping[Any, int], since: datetime | None
) -> Mapping[Any, int]:
    if since is None:
        return begin
    found = consumer.offsets_for_times(dict.fromkeys(begin, round(since.timestamp() * 1000)))
    return {position: found[position].offset if found.get(position) else end[position] for position in begin}


def _portions(consumer: KafkaConsumer, end: Mapping[Any, int]) -> Iterator[list[Any]]:
    """Yield the messages before the end offsets, at most `PORTION` or about `PORTION_BYTES` at a time."""
    portion: list[Any] = []
    size, moved = 0, time.monotonic()
    while any(consumer.position(position) < offset for position, offset in end.items()):
        polled = consumer.poll(1000, max_records=PORTION - len(portion))
        if polled:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            msg = f"Kafka returned no message for {STALLED_SECONDS:.0f} s although there are more: try again."
            raise ComplaintsError(msg)
        for position, messages in polled.items():
            portion += [message for message in messages if message.offset < end[position]]
            size += sum(len(message.value or b"") for message in messages)
        if len(portion) >= PORTION or size >= PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _row(message: Any, *, with_value: bool) -> dict[str, object]:  # noqa: ANN401 - kafka-python has no types
    key, value = message.key, message.value
    text = value.decode(errors="replace") if with_value and value is not None else None
    is_number = key is not None and key.isdigit() and len(key) <= 18  # noqa: PLR2004 - digits that fit a bigint
    return {
        "partition": message.partition,
        "offset": message.offset,
        "sent_ms": message.timestamp,
        "complaint_id": int(key) if is_number else None,
        "value": text,
    }
