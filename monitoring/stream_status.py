"""Status of a running stream for operators: Kafka lag, query health and decisions.

Reads Kafka's offsets, gold.stream_health and gold.decisions; needs no Spark and never waits for the stream.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings
from lakehouse.sql.query import Result, query
from lakehouse.tables.lake import writer_lock
from streaming.kafka.topics import admin_client
from streaming.tables import TABLES

LOOK_SECONDS = 1.0  # between the two measurements that give the rates
MINUTES = 10  # the recent period
# Errors of a broker in its first seconds, while its groups are being loaded.
NO_GROUPS_YET = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)

# Parameters: $since and $now; durations in milliseconds unless stated otherwise.
HEALTH = """
    SELECT query, max(batch_id) AS last_batch, max(started_at) AS last_began,
           round(date_diff('second', max(started_at), $now), 0) AS age_seconds,
           count(*) AS batches, median(batch_ms) AS p50_ms, quantile_disc(batch_ms, 0.99) AS p99_ms,
           arg_max(lag_rows, started_at) AS lag_rows
    FROM gold.stream_health WHERE started_at >= $since
    GROUP BY query ORDER BY list_position(['ingest', 'refine', 'score', 'summarise'], query)
"""
THROUGHPUT = """
    SELECT date_trunc('minute', started_at) AS minute, query, sum(rows)::BIGINT AS rows, count(*) AS batches
    FROM gold.stream_health WHERE started_at BETWEEN $since AND $now
    GROUP BY ALL ORDER BY minute, query
"""
LATENCY = """
    SELECT date_trunc('minute', kafka_timestamp) AS minute, count(*) AS decisions,
           quantile_disc(waited, 0.5) AS p50_ms, quantile_disc(waited, 0.95) AS p95_ms,
           quantile_disc(waited, 0.99) AS p99_ms, max(waited) AS max_ms
    FROM (SELECT kafka_timestamp, date_diff('millisecond', kafka_timestamp, scored_at) AS waited
          FROM gold.decisions WHERE kafka_timestamp BETWEEN $since AND $now)
    GROUP BY minute ORDER BY minute
"""
DISTRIBUTION = """
    SELECT 'urgency' AS of, urgency AS value, count(*) FILTER (recent) AS recent, count(*) AS last_hour
    FROM (SELECT *, scored_at >= $since AS recent FROM gold.decisions
          WHERE scored_at BETWEEN $now - INTERVAL 1 HOUR AND $now) GROUP BY ALL
    UNION ALL
    SELECT 'team', team, count(*) FILTER (scored_at >= $since), count(*)
    FROM gold.decisions WHERE scored_at BETWEEN $now - INTERVAL 1 HOUR AND $now GROUP BY ALL
    UNION ALL
    SELECT 'score', format('{:.1f} to {:.1f}', floor(least(probability, 0.999) * 10) / 10,
                           floor(least(probability, 0.999) * 10) / 10 + 0.1),
           count(*) FILTER (scored_at >= $since), count(*)
    FROM gold.decisions WHERE scored_at BETWEEN $now - INTERVAL 1 HOUR AND $now GROUP BY ALL
    ORDER BY ALL
"""
SAMPLES = """
    SELECT complaint_id, scored_at, urgency, team, round(probability, 3) AS probability, recommended_action,
           list_transform(reasons, lambda why: why.reason) AS reasons
    FROM gold.decisions WHERE scored_at <= $now AND scored_at >= $since ORDER BY scored_at DESC, complaint_id LIMIT 5
"""


@dataclass(frozen=True)
class PartitionLag:
    """One partition as a consumer group sees it.

    Attributes:
        topic: the topic.
        partition: its number.
        begin: first available offset.
        end: offset after the last message.
        committed: offset at which the group resumes; None if it has committed none.
        lag: messages that the group has not read yet.
        rate: messages per second that the group reads.
        arriving: messages per second that arrive.
    """

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None
    lag: int
    rate: float
    arriving: float

    @property
    def seconds_to_catch_up(self) -> float | None:
        """Seconds until the lag is gone at these rates; None if it isn't shrinking."""
        gain = self.rate - self.arriving
        if self.lag == 0:
            return 0.0
        return self.lag / gain if gain > 0 else None


def lag(kafka: KafkaSettings, bootstrap_servers: str, group: str, topic: str) -> list[PartitionLag]:
    """Return the group's lag by partition, with rates measured over one second.

    Raises:
        ComplaintsError: the broker can't be reached, or the topic doesn't exist.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        if topic not in admin.list_topics():
            msg = f"There is no topic {topic} at {bootstrap_servers}: `complaints topics list` shows the existing ones."
            raise ComplaintsError(msg)
        (described,) = admin.describe_topics([topic])
        positions = [TopicPartition(topic, number) for number in range(len(described["partitions"]))]
        begin = _offsets(admin, positions, OffsetSpec.EARLIEST)
        before, began = _measure(admin, positions, group), time.monotonic()
        time.sleep(LOOK_SECONDS)
        after, seconds = _measure(admin, positions, group), time.monotonic() - began
    found = []
    for position in positions:
        (end_before, committed_before), (end, committed) = before[position], after[position]
        start = begin[position] if committed is None else committed
        found.append(
            PartitionLag(
                topic,
                position.partition,
                begin[position],
                end,
                committed,
                max(0, end - start),
                # A first commit says where the group is, not how fast it got there.
                rate=0.0 if committed is None or committed_before is None else (committed - committed_before) / seconds,
                arriving=(end - end_before) / seconds,
            )
        )
    return found


def _measure(
    admin: KafkaAdminClient, positions: list[TopicPartition], group: str
) -> dict[TopicPartition, tuple[int, int | None]]:
    """Return the end offset and the group's committed offset by partition."""
    ends = _offsets(admin, positions, OffsetSpec.LATEST)
    try:
        committed = admin.list_group_offsets({group: positions})[group]
    except NO_GROUPS_YET:
        committed = {}
    return {p: (ends[p], c.offset if (c := committed.get(p)) and c.offset >= 0 else None) for p in positions}


def _offsets(
    admin: KafkaAdminClient, positions: list[TopicPartition], spec: OffsetSpec
) -> Mapping[TopicPartition, int]:
    found = admin.list_partition_offsets(dict.fromkeys(positions, spec))
    return {position: found[position].offset for position in positions}


def recent(settings: Settings, statement: str) -> Result:
    """Run one of this module's statements over the last minutes.

    Raises:
        ComplaintsError: there are no tables yet.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    since = now - timedelta(minutes=MINUTES)
    return query(settings, TABLES, statement, {"now": now, "since": since})


def is_written(settings: Settings) -> bool:
    """Whether a process, such as a running stream, holds the writer lock of this lake."""
    try:
        writer_lock(settings, patience=0).release()
    except ComplaintsError:
        return True
    return False
