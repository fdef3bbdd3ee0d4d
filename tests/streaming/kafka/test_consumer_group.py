"""The stream commits its offsets to the consumer group, and Kafka's own tool shows the lag."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import RetriableError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings
from lakehouse.setup.jars import kafka_tools_classpath
from lakehouse.setup.java import find_java
from streaming.kafka import consumer_group
from streaming.kafka.broker import Broker
from streaming.kafka.consumer_group import GroupCommitter
from streaming.kafka.topics import client_config, ensure_topics
from tests.stream_fixtures import wait_until, with_topics

TOPIC = "group-input"
TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


@pytest.fixture
def kafka(settings: Settings, shared_broker: Broker) -> KafkaSettings:
    """Settings with a separate group and topics, and ten messages in each partition."""
    kafka = with_topics(settings, shared_broker, "group").kafka.model_copy(update={"group": f"group-{time.time_ns()}"})
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for number in range(20):
        producer.send(TOPIC, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()
    return kafka


@pytest.fixture
def admin(kafka: KafkaSettings, shared_broker: Broker) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(**client_config(kafka, shared_broker.bootstrap_servers))
    yield client
    client.close()


def done(name: str = "ingest", **ends: int) -> dict[str, Any]:
    """Spark's progress of a batch that ends at these offsets."""
    offsets = {partition.removeprefix("p"): offset for partition, offset in ends.items()}
    return {"name": name, "sources": [{"endOffset": {TOPIC: offsets}}]}


def committed(admin: KafkaAdminClient, kafka: KafkaSettings) -> dict[int, int]:
    try:
        found = admin.list_group_offsets({kafka.group: None})[kafka.group]
    except RetriableError:  # the group or the broker is new, and the coordinator is not available yet
        return {}
    return {position.partition: state.offset for position, state in found.items() if position.topic == TOPIC}


def test_the_newest_end_is_committed_and_the_last_one_before_leaving(
    kafka: KafkaSettings, shared_broker: Broker, admin: KafkaAdminClient
) -> None:
    with GroupCommitter(kafka, shared_broker.bootstrap_servers) as committer:
        committer.take(done(p0=3, p1=4))
        wait_until(lambda: committed(admin, kafka) == {0: 3, 1: 4}, "the first commit")
        committer.take(done("refine", p0=9, p1=9))  # does not read Kafka
        committer.take(done(p0=5))
        committer.take(done(p0=7))
    assert committed(admin, kafka) == {0: 7, 1: 4}


def test_kafkas_own_tool_shows_the_lag(kafka: KafkaSettings, shared_broker: Broker) -> None:
    with GroupCommitter(kafka, shared_broker.bootstrap_servers) as committer:
        committer.take(done(p0=6, p1=10))
    command = [str(find_java().executable), "-cp", kafka_tools_classpath(), TOOL]
    command += ["--bootstrap-server", shared_broker.bootstrap_servers, "--describe", "--group", kafka.group]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    rows = [line.split() for line in result.stdout.splitlines() if TOPIC in line]
    lags = sorted([int(cell) for cell in row[2:6]] for row in rows)  # partition, committed, end, lag
    assert [row[:2] for row in lags] == [[0, 6], [1, 10]], result.stderr
    assert all(lag == end - there for _, there, end, lag in lags)


def test_a_broker_that_is_down_blocks_nothing_and_the_commit_is_retried(
    kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = Broker(tmp_path_factory.mktemp("gone"))
    broker.start()
    address = broker.bootstrap_servers
    ensure_topics(kafka, address)
    broker.kill()
    with GroupCommitter(kafka, address) as committer:
        start = time.monotonic()
        committer.take(done(p0=1, p1=2))
        assert time.monotonic() - start < 0.5
        time.sleep(1)  # the first attempt finds no broker
        broker.start()
        client = KafkaAdminClient(**client_config(kafka, address))
        wait_until(lambda: committed(client, kafka) == {0: 1, 1: 2}, "the commit after the broker came back")
        client.close()
    broker.stop()


def test_a_token_endpoint_that_is_down_for_a_moment_ends_no_commits(
    kafka: KafkaSettings, shared_broker: Broker, admin: KafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([ComplaintsError("no token at the moment")])

    def config(*arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        if error := next(answers, None):
            raise error
        return client_config(*arguments)

    monkeypatch.setattr(consumer_group, "client_config", config)
    monkeypatch.setattr(consumer_group, "RETRY_SECONDS", 0.1)
    with GroupCommitter(kafka, shared_broker.bootstrap_servers) as committer:
        committer.take(done(p0=2, p1=3))
        wait_until(lambda: committed(admin, kafka) == {0: 2, 1: 3}, "the commit once there was a token")
