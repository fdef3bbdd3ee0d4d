"""Kafka for operators: the lag of a consumer group, topics with their offsets and sizes, groups with their state."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)
from kafka.structs import OffsetAndMetadata

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings
from streaming.kafka.topics import admin_client

LOOK_SECONDS = 1.0  # between the two measurements that give the rates
# Errors of a broker in its first seconds, while its groups are being loaded.
NO_GROUPS_YET = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


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

    Without such a group each message counts as lag; `group_exists` distinguishes that.

    Raises:
        ComplaintsError: the broker can't be reached, or the topic doesn't exist.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        positions = _positions(admin, [topic], bootstrap_servers)
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


def group_exists(kafka: KafkaSettings, bootstrap_servers: str, group: str) -> bool:
    """Whether the brokers know this consumer group: it has members or has committed offsets.

    Raises:
        ComplaintsError: the broker can't be reached.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        return group in _group_names(admin)


@dataclass(frozen=True)
class PartitionState:
    """One partition of a topic.

    Attributes:
        topic: the topic.
        partition: its number.
        begin: first available offset.
        end: offset after the last message.
        messages: offsets between them; fewer messages remain in a compacted topic.
        bytes: size of one replica; None if the brokers don't say.
        retention: how long a message is kept, such as 168 h; "forever" without a limit.
    """

    topic: str
    partition: int
    begin: int
    end: int
    messages: int
    bytes: int | None
    retention: str


def partitions(kafka: KafkaSettings, bootstrap_servers: str, topics: Sequence[str]) -> list[PartitionState]:
    """Return the state of each partition of the topics.

    Raises:
        ComplaintsError: the broker can't be reached, or a topic doesn't exist.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        positions = _positions(admin, topics, bootstrap_servers)
        begins, ends = (_offsets(admin, positions, spec) for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST))
        sizes = _sizes(admin, positions)
        retentions = {topic: _retention(admin, topic) for topic in topics}
    return [
        PartitionState(
            at.topic,
            at.partition,
            begins[at],
            ends[at],
            ends[at] - begins[at],
            sizes.get(at),
            retentions[at.topic],
        )
        for at in positions
    ]


@dataclass(frozen=True)
class GroupLag:
    """A consumer group and its lag on one topic.

    Attributes:
        group: its id.
        state: Kafka's: Stable, Empty (no members), PreparingRebalance, CompletingRebalance, Dead.
        members: consumers in the group.
        topic: a topic that it has committed offsets of; None if it has committed none.
        lag: messages of the topic after those offsets; None without a topic, or if the topic no longer exists.
    """

    group: str
    state: str
    members: int
    topic: str | None
    lag: int | None


def groups(kafka: KafkaSettings, bootstrap_servers: str) -> list[GroupLag]:
    """Return the brokers' consumer groups, one row per group and topic.

    Raises:
        ComplaintsError: the broker can't be reached.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        names = sorted(_group_names(admin))
        if not names:
            return []
        described = admin.describe_groups(names)
        existing = set(admin.list_topics())
        found = []
        for name in names:
            committed = {at: o.offset for at, o in _committed(admin, name, None).items() if o.offset >= 0}
            ends = _offsets(admin, [at for at in committed if at.topic in existing], OffsetSpec.LATEST)
            state, members = str(described[name]["group_state"]), len(described[name]["members"])
            lags: dict[str | None, int | None] = {at.topic: None for at in sorted(committed)}
            for at, end in ends.items():
                lags[at.topic] = (lags[at.topic] or 0) + max(0, end - committed[at])
            lags = lags or {None: None}
            found += [GroupLag(name, state, members, topic, waiting) for topic, waiting in lags.items()]
    return found


def _positions(admin: KafkaAdminClient, topics: Sequence[str], bootstrap_servers: str) -> list[TopicPartition]:
    existing = admin.list_topics()
    for topic in topics:
        if topic not in existing:
            msg = f"There is no topic {topic} at {bootstrap_servers}: `complaints topics list` shows the existing ones."
            raise ComplaintsError(msg)
    counts = {described["name"]: len(described["partitions"]) for described in admin.describe_topics(list(topics))}
    return [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]


def _measure(
    admin: KafkaAdminClient, positions: list[TopicPartition], group: str
) -> dict[TopicPartition, tuple[int, int | None]]:
    """Return the end offset and the group's committed offset by partition."""
    ends = _offsets(admin, positions, OffsetSpec.LATEST)
    committed = _committed(admin, group, positions)
    return {p: (ends[p], c.offset if (c := committed.get(p)) and c.offset >= 0 else None) for p in positions}


def _committed(
    admin: KafkaAdminClient, group: str, positions: list[TopicPartition] | None
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Return the group's committed offsets of these partitions, or all of them."""
    try:
        found: Mapping[str, Mapping[TopicPartition, OffsetAndMetadata]] = admin.list_group_offsets({group: positions})
    except NO_GROUPS_YET:
        return {}
    return found[group]


def _group_names(admin: KafkaAdminClient) -> set[str]:
    try:
        return {str(group["group_id"]) for group in admin.list_groups()}
    except NO_GROUPS_YET:
        return set()


def _offsets(
    admin: KafkaAdminClient, positions: list[TopicPartition], spec: OffsetSpec
) -> Mapping[TopicPartition, int]:
    found = admin.list_partition_offsets(dict.fromkeys(positions, spec))
    return {position: found[position].offset for position in positions}


def _sizes(admin: KafkaAdminClient, positions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the bytes of a replica of each partition, as far as the brokers say."""
    try:
        brokers = admin.describe_log_dirs(list({at.topic for at in positions}))
    except KafkaError:  # the user may read topics, and not describe the cluster
        return {}
    sizes: dict[TopicPartition, int] = {}
    for log_dir in (log_dir for broker in brokers for log_dir in broker["log_dirs"]):
        for topic in log_dir["topics"]:
            for one in topic["partitions"]:
                at = TopicPartition(topic["name"], one["partition_index"])
                sizes[at] = max(sizes.get(at, 0), int(one["partition_size"]))
    return sizes


def _retention(admin: KafkaAdminClient, topic: str) -> str:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    milliseconds = int(admin.describe_configs([resource], config_filter="all")["topic"][topic]["retention.ms"]["value"])
    return "forever" if milliseconds < 0 else f"{milliseconds / 3_600_000:g} h"
