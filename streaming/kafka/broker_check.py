"""Check that Kafka works: the embedded broker returns a test message, or the external one answers."""

import tempfile
from contextlib import closing
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings
from streaming.kafka.broker import Broker
from streaming.kafka.topics import TIMEOUT_MS, client_config, ensure_topics, unreachable

MESSAGE = b'{"Complaint ID": "1"}'
SECONDS = 20


def check_broker(settings: Settings) -> str:
    """Check the broker in the settings, or the embedded one, and return the result in words.

    Raises:
        ComplaintsError: the broker doesn't start, can't be reached, or loses the message.
    """
    servers = settings.kafka.bootstrap_servers
    if servers:
        return _describe_external(settings.kafka, servers)
    with tempfile.TemporaryDirectory(prefix="check-", dir=settings.folder) as temporary:
        with Broker(Path(temporary) / "broker") as broker:
            _round_trip(settings.kafka, broker.bootstrap_servers)
        return f"embedded, a topic made and a message there and back ({broker.bootstrap_servers})"


def _describe_external(kafka: KafkaSettings, servers: str) -> str:
    try:
        config = client_config(kafka, servers)
        with closing(KafkaAdminClient(**config, request_timeout_ms=TIMEOUT_MS)) as admin:
            brokers = len(admin.describe_cluster()["brokers"])
            missing = {kafka.input.name, kafka.predictions.name} - set(admin.list_topics())
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(kafka, servers, error) from error
    note = (
        f"; `complaints topics create` creates {', '.join(sorted(missing))}" if missing else ", both topics are there"
    )
    return f"{servers} answers with {brokers} broker{'s' * (brokers != 1)}{note}"


def _round_trip(kafka: KafkaSettings, servers: str) -> None:
    """Send one message to the input topic and read it back.

    The topics have one replica here, whatever is declared for an external broker: there is one node.
    """
    topics = {
        name: topic.model_copy(update={"replication": 1})
        for name, topic in (("input", kafka.input), ("predictions", kafka.predictions))
    }
    ensure_topics(kafka.model_copy(update=topics), servers)
    config = client_config(kafka, servers)
    try:
        with closing(KafkaProducer(**config)) as producer:
            sent = producer.send(kafka.input.name, MESSAGE).get(SECONDS)
        with closing(KafkaConsumer(**config, consumer_timeout_ms=SECONDS * 1000)) as consumer:
            position = TopicPartition(sent.topic, sent.partition)
            consumer.assign([position])
            consumer.seek(position, sent.offset)
            received = next(iter(consumer), None)
    except KafkaError as error:
        raise unreachable(kafka, servers, error) from error
    if received is None or received.value != MESSAGE:
        msg = (
            f"The embedded broker took a message and didn't give it back within {SECONDS} s: is the machine overloaded?"
        )
        raise ComplaintsError(msg)
