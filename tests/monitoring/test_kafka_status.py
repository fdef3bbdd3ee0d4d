"""Lag, topics and groups are those of the broker, whatever the stream says."""

import json
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import CoordinatorNotAvailableError
from kafka.structs import OffsetAndMetadata

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings
from monitoring.kafka_status import GroupLag, PartitionLag, group_exists, groups, lag, partitions
from streaming.kafka.broker import Broker
from streaming.kafka.topics import admin_client, ensure_topics
from tests.complaints.conftest import Run
from tests.stream_fixtures import with_topics


@pytest.fixture
def kafka(settings: Settings, shared_broker: Broker) -> Iterator[KafkaSettings]:
    """Settings with a separate group and topics, and ten messages in each of two partitions."""
    kafka = with_topics(settings, shared_broker, "monitor").kafka
    kafka = kafka.model_copy(update={"group": f"monitor-{time.time_ns()}"})
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for number in range(20):
        producer.send(kafka.input.name, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()
    yield kafka
    with admin_client(kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([kafka.input.name])


def commit(kafka: KafkaSettings, servers: str, topic: str, offset: int) -> None:
    """Commit an offset of partition 0 for the group, as the stream does; a new broker first loads its groups."""
    with admin_client(kafka, servers) as admin:
        for _ in range(60):
            try:
                admin.alter_group_offsets(kafka.group, {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)})
            except CoordinatorNotAvailableError:
                time.sleep(0.5)
            else:
                return


def test_the_lag_counts_uncommitted_messages(kafka: KafkaSettings, shared_broker: Broker) -> None:
    topic, servers = kafka.input.name, shared_broker.bootstrap_servers
    assert not group_exists(kafka, servers, kafka.group)
    assert [(one.committed, one.lag) for one in lag(kafka, servers, kafka.group, topic)] == [(None, 10), (None, 10)]
    commit(kafka, servers, topic, 7)
    assert group_exists(kafka, servers, kafka.group)
    first, second = lag(kafka, servers, kafka.group, topic)
    assert (first.begin, first.end, first.committed, first.lag) == (0, 10, 7, 3)
    assert (second.committed, second.lag) == (None, 10)
    with pytest.raises(ComplaintsError, match="There is no topic nothing at"):
        lag(kafka, servers, kafka.group, "nothing")


def test_groups_are_listed_with_state_and_lag_by_topic(kafka: KafkaSettings, shared_broker: Broker) -> None:
    servers = shared_broker.bootstrap_servers
    commit(kafka, servers, kafka.input.name, 7)
    commit(kafka, servers, kafka.predictions.name, 0)
    assert [one for one in groups(kafka, servers) if one.group == kafka.group] == [
        GroupLag(kafka.group, "Empty", 0, kafka.input.name, 3),
        GroupLag(kafka.group, "Empty", 0, kafka.predictions.name, 0),
    ]


def test_topics_are_listed_with_offsets_size_and_retention(kafka: KafkaSettings, shared_broker: Broker) -> None:
    found = partitions(kafka, shared_broker.bootstrap_servers, [kafka.input.name, kafka.predictions.name])
    assert [(one.topic, one.partition, one.begin, one.end, one.messages, one.retention) for one in found] == [
        (kafka.input.name, 0, 0, 10, 10, "168 h"),
        (kafka.input.name, 1, 0, 10, 10, "168 h"),
        (kafka.predictions.name, 0, 0, 0, 0, "168 h"),
        (kafka.predictions.name, 1, 0, 0, 0, "168 h"),
    ]
    assert found[0].bytes is not None
    assert found[0].bytes > 10 * len(b"a complaint")
    assert found[2].bytes == 0


@pytest.mark.parametrize(
    ("rate", "arriving", "waiting", "seconds"),
    [(20.0, 10.0, 100, 10.0), (10.0, 10.0, 100, None), (0.0, 0.0, 0, 0.0), (5.0, 10.0, 1, None)],
)
def test_the_time_to_catch_up_is_unknown_unless_the_lag_shrinks(
    rate: float, arriving: float, waiting: int, seconds: float | None
) -> None:
    one = PartitionLag("t", 0, 0, 100, 100 - waiting, waiting, rate, arriving)
    assert one.seconds_to_catch_up == seconds


def test_the_commands_show_groups_and_topics_and_name_a_group_that_does_not_exist(
    kafka: KafkaSettings,
    shared_broker: Broker,
    run: Run,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS", shared_broker.bootstrap_servers)
    monkeypatch.setenv("COMPLAINTS_KAFKA__INPUT__NAME", kafka.input.name)
    monkeypatch.setenv("COMPLAINTS_KAFKA__GROUP", kafka.group)
    lag_command = ("--root", settings.folder, "monitor", "lag")
    answer = run(*lag_command, "--group", "complaint_procesor")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(
        f"Error: There is no consumer group complaint_procesor at {shared_broker.bootstrap_servers}"
    )
    answer = run(*lag_command, "--json")
    shown = json.loads(answer.out)
    assert (answer.code, shown["group_exists"], shown["lag"]) == (1, False, 20)
    assert f"There is no consumer group {kafka.group} yet" in " ".join(answer.err.split())
    commit(kafka, shared_broker.bootstrap_servers, kafka.input.name, 7)
    answer = run(*lag_command, "--json")
    shown = json.loads(answer.out)
    assert (answer.code, shown["group_exists"], shown["lag"], answer.err) == (0, True, 13, "")
    answer = run("--root", settings.folder, "monitor", "groups")
    assert [kafka.group, "Empty", "0", kafka.input.name, "3"] in [line.split() for line in answer.out.splitlines()]
    answer = run("--root", settings.folder, "monitor", "topics", "--topics", kafka.input.name)
    assert (answer.code, [line.split()[:5] for line in answer.out.splitlines()[1:]]) == (
        0,
        [[kafka.input.name, "0", "0", "10", "10"], [kafka.input.name, "1", "0", "10", "10"]],
    )
