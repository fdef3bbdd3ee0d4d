"""Topics are created as declared; existing ones are left alone and their differences reported."""

import socket

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, load_settings
from streaming.kafka import topics
from streaming.kafka.broker import Broker
from streaming.kafka.topics import client_config, delete_topic, describe_topics, ensure_topics


@pytest.fixture(scope="module")
def broker(shared_broker: Broker) -> Broker:
    return shared_broker


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings with separate topics."""
    kafka = load_settings().kafka
    name = request.node.name.replace("[", "_").replace("]", "")
    return kafka.model_copy(
        update={
            "input": kafka.input.model_copy(update={"name": f"{name}-input", "partitions": 3, "retention_hours": 5}),
            "predictions": kafka.predictions.model_copy(update={"name": f"{name}-predictions"}),
        }
    )


def test_missing_topics_are_created_as_declared(broker: Broker, kafka: KafkaSettings) -> None:
    messages = ensure_topics(kafka, broker.bootstrap_servers)
    assert messages == [
        f"The topic {kafka.input.name} was created with 3 partitions.",
        f"The topic {kafka.predictions.name} was created with 2 partitions.",
    ]
    admin = KafkaAdminClient(**client_config(kafka, broker.bootstrap_servers))
    (found,) = admin.describe_topics([kafka.input.name])
    resource = ConfigResource(ConfigResourceType.TOPIC, kafka.input.name)
    configs = admin.describe_configs([resource])["topic"][kafka.input.name]
    admin.close()
    assert len(found["partitions"]) == 3
    assert {name: config["value"] for name, config in configs.items()}.items() >= {
        ("retention.ms", "18000000"),
        ("max.message.bytes", "8388608"),
    }
    assert ensure_topics(kafka, broker.bootstrap_servers) == []


def test_of_two_decisions_on_one_complaint_kafka_keeps_the_latest(broker: Broker, kafka: KafkaSettings) -> None:
    ensure_topics(kafka, broker.bootstrap_servers)
    input_, predictions = describe_topics(kafka, broker.bootstrap_servers)
    assert input_.settings["cleanup.policy"] == "delete"
    assert predictions.settings["cleanup.policy"] == "compact,delete"


def test_only_a_declared_topic_can_be_deleted(broker: Broker, kafka: KafkaSettings) -> None:
    ensure_topics(kafka, broker.bootstrap_servers)
    with pytest.raises(ComplaintsError, match="__consumer_offsets is not one of this project's topics"):
        delete_topic(kafka, broker.bootstrap_servers, "__consumer_offsets")
    delete_topic(kafka, broker.bootstrap_servers, kafka.predictions.name)
    with pytest.raises(ComplaintsError, match=f"There is no topic {kafka.predictions.name}"):
        delete_topic(kafka, broker.bootstrap_servers, kafka.predictions.name)
    assert [state.name for state in describe_topics(kafka, broker.bootstrap_servers) if state.settings] == [
        kafka.input.name
    ]


def test_a_topic_that_differs_is_reported_and_left_alone(broker: Broker, kafka: KafkaSettings) -> None:
    ensure_topics(kafka, broker.bootstrap_servers)
    other = kafka.input.model_copy(update={"partitions": 4, "retention_hours": 6})
    changed = kafka.model_copy(update={"input": other})
    sentence = (
        f"The topic {other.name} exists with partitions 3 instead of 4, retention.ms 18000000 instead of 21600000; "
        "it was left as it is."
    )
    assert ensure_topics(changed, broker.bootstrap_servers) == [sentence]
    assert ensure_topics(kafka, broker.bootstrap_servers) == []


def test_the_error_names_an_unreachable_broker(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "TIMEOUT_MS", 500)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but never listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ComplaintsError, match=f"The Kafka broker at {address} can't be used"):
            ensure_topics(kafka, address)
