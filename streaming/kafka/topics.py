"""The two declared topics, and the client configuration for the broker."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, TopicSettings
from streaming.kafka.security import python_options, settings_to_check

TIMEOUT_MS = 10_000
NONE: Mapping[str, str | int] = MappingProxyType({})


def client_config(kafka: KafkaSettings, bootstrap_servers: str) -> dict[str, Any]:
    """Return the options shared by all kafka-python clients: the broker address and authentication.

    Args:
        kafka: the settings.
        bootstrap_servers: ``host:port``, several separated by commas.

    Raises:
        ComplaintsError: a setting of the protocol or mechanism is missing, a file can't be used, or the token endpoint
            gives no token.
    """
    return {
        "bootstrap_servers": [server.strip() for server in bootstrap_servers.split(",")],
        "client_id": kafka.group,
        "bootstrap_timeout_ms": TIMEOUT_MS,
        **python_options(kafka),
    }


def unreachable(kafka: KafkaSettings, bootstrap_servers: str, error: Exception) -> ComplaintsError:
    """Return the error for a client that can't reach the broker or isn't authorized."""
    return ComplaintsError(
        f"The Kafka broker at {bootstrap_servers} can't be used ({error}): check that it runs, "
        f"and the settings {settings_to_check(kafka)}."
    )


def ensure_topics(kafka: KafkaSettings, bootstrap_servers: str) -> list[str]:
    """Create the declared topics that don't exist; existing topics are never changed.

    Returns:
        One sentence per topic that was created or differs from its declaration.

    Raises:
        ComplaintsError: the broker can't be reached, or refuses to create a topic.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        return [sentence for topic in (kafka.input, kafka.predictions) for sentence in _ensure(admin, topic)]


def largest_message(kafka: KafkaSettings, bootstrap_servers: str) -> int:
    """Return the input topic's max.message.bytes as configured on the broker.

    Raises:
        ComplaintsError: the broker can't be reached, or the topic doesn't exist.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        return int(_found(admin, kafka.input)["max.message.bytes"])


@contextmanager
def admin_client(kafka: KafkaSettings, bootstrap_servers: str) -> Iterator[KafkaAdminClient]:
    """Yield an admin client, closed at the end; Kafka errors are raised as `ComplaintsError`.

    Raises:
        ComplaintsError: the broker can't be reached, or refuses.
    """
    try:
        admin = KafkaAdminClient(**client_config(kafka, bootstrap_servers), request_timeout_ms=TIMEOUT_MS)
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(kafka, bootstrap_servers, error) from error
    try:
        yield admin
    except KafkaError as error:
        raise unreachable(kafka, bootstrap_servers, error) from error
    finally:
        admin.close()


@contextmanager
def consumer_of(
    kafka: KafkaSettings, bootstrap_servers: str, *, wait_ms: int = TIMEOUT_MS, options: Mapping[str, str | int] = NONE
) -> Iterator[KafkaConsumer]:
    """Yield a consumer that commits nothing and waits up to `wait_ms` for the next message.

    `options` are additional options of the client.

    Raises:
        ComplaintsError: the broker can't be reached, or refuses.
    """
    config = client_config(kafka, bootstrap_servers)
    try:
        consumer = KafkaConsumer(**config, enable_auto_commit=False, consumer_timeout_ms=wait_ms, **options)
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(kafka, bootstrap_servers, error) from error
    try:
        yield consumer
    except KafkaError as error:
        raise unreachable(kafka, bootstrap_servers, error) from error
    finally:
        consumer.close()


def _ensure(admin: KafkaAdminClient, topic: TopicSettings) -> list[str]:
    if topic.name in admin.list_topics():
        return _differences(admin, topic)
    declared = {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication,
        "configs": _configs(topic),
    }
    try:
        admin.create_topics({topic.name: declared}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another process created it first
        return _differences(admin, topic)
    return [f"The topic {topic.name} was created with {topic.partitions} partitions."]


def _differences(admin: KafkaAdminClient, topic: TopicSettings) -> list[str]:
    found = _found(admin, topic)
    declared = {"partitions": str(topic.partitions), "replication": str(topic.replication), **_configs(topic)}
    different = [f"{name} {found[name]} instead of {value}" for name, value in declared.items() if found[name] != value]
    if not different:
        return []
    return [f"The topic {topic.name} exists with {', '.join(different)}; it was left as it is."]


def _found(admin: KafkaAdminClient, topic: TopicSettings) -> dict[str, str]:
    """Return a topic's actual settings, by the names used in the declaration."""
    (described,) = admin.describe_topics([topic.name])
    partitions = described["partitions"]
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
    configs = admin.describe_configs([resource], config_filter="all")["topic"][topic.name]
    return {
        "partitions": str(len(partitions)),
        "replication": str(len(partitions[0]["replica_nodes"])),
        **{name: configs[name]["value"] for name in _configs(topic)},
    }


@dataclass(frozen=True)
class TopicState:
    """The actual state of a declared topic on the broker.

    Attributes:
        name: its name.
        settings: partitions, replication, retention.ms and so on, as text; empty if the topic doesn't exist.
        offsets: first available offset and end offset, by partition.
        differences: a sentence if it differs from its declaration or doesn't exist.
    """

    name: str
    settings: Mapping[str, str]
    offsets: Mapping[int, tuple[int, int]]
    differences: tuple[str, ...]

    @property
    def messages(self) -> int:
        """Number of messages in the topic."""
        return sum(end - begin for begin, end in self.offsets.values())


def describe_topics(kafka: KafkaSettings, bootstrap_servers: str) -> list[TopicState]:
    """Return the actual state of the two declared topics.

    Raises:
        ComplaintsError: the broker can't be reached.
    """
    with admin_client(kafka, bootstrap_servers) as admin:
        names = admin.list_topics()
        return [
            _state(admin, topic)
            if topic.name in names
            else TopicState(
                topic.name, {}, {}, (f"There is no topic {topic.name}: `complaints topics create` creates it.",)
            )
            for topic in (kafka.input, kafka.predictions)
        ]


def delete_topic(kafka: KafkaSettings, bootstrap_servers: str, name: str) -> None:
    """Delete one of the two declared topics and all its messages.

    Raises:
        ComplaintsError: the topic isn't declared or doesn't exist, or the broker can't be reached or refuses.
    """
    declared = (kafka.input.name, kafka.predictions.name)
    if name not in declared:
        msg = f"{name} is not one of this project's topics ({' and '.join(declared)}): nothing was deleted."
        raise ComplaintsError(msg)
    with admin_client(kafka, bootstrap_servers) as admin:
        try:
            admin.delete_topics([name])
        except UnknownTopicOrPartitionError:
            msg = f"There is no topic {name} at {bootstrap_servers}: nothing was deleted."
            raise ComplaintsError(msg) from None


def _state(admin: KafkaAdminClient, topic: TopicSettings) -> TopicState:
    found = _found(admin, topic)
    positions = [TopicPartition(topic.name, partition) for partition in range(int(found["partitions"]))]
    first, end = (
        admin.list_partition_offsets(dict.fromkeys(positions, spec))
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    offsets = {position.partition: (first[position].offset, end[position].offset) for position in positions}
    return TopicState(topic.name, found, offsets, tuple(_differences(admin, topic)))


def _configs(topic: TopicSettings) -> Mapping[str, str]:
    return {
        "cleanup.policy": "compact,delete" if topic.compacted else "delete",
        "retention.ms": str(topic.retention_hours * 3_600_000),
        "max.message.bytes": str(topic.max_message_bytes),
    }
