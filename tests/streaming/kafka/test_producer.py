"""Messages are sent on schedule and accounted for, even when the broker stalls or the user stops."""

import math
import os
import signal
import threading
from collections.abc import Iterator
from datetime import date
from itertools import chain, count, islice, repeat

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, load_settings
from streaming.kafka import producer as producing
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Generator, Message, Mix
from streaming.kafka.producer import MAX_IN_FLIGHT, Producer, Progress
from streaming.kafka.topics import ensure_topics

ROW = {"Product": "Payday loan", "Issue": "Charged fees", "Company": "A", "State": "CA", "Date received": "2023-01-01"}


@pytest.fixture(scope="module")
def broker(shared_broker: Broker) -> Broker:
    return shared_broker


@pytest.fixture
def kafka(broker: Broker, request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings with a separate input topic."""
    kafka = load_settings().kafka
    own = kafka.model_copy(update={"input": kafka.input.model_copy(update={"name": request.node.name})})
    ensure_topics(own, broker.bootstrap_servers)
    return own


def numbered(size: int = 300) -> Iterator[Message]:
    """Yield numbered messages forever."""
    return (Message(b"%d" % number, (b"%d " % number).ljust(size, b"x"), "new") for number in count())


def stored(broker: Broker, topic: str) -> list[bytes]:
    """Return all messages of the topic."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, consumer_timeout_ms=10_000)
    partitions = [TopicPartition(topic, partition) for partition in range(2)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    wanted = sum(consumer.end_offsets(partitions).values())
    found = [message.value for message in islice(consumer, wanted)]
    consumer.close()
    return found


def test_the_rate_is_kept_and_every_message_arrives(broker: Broker, kafka: KafkaSettings) -> None:
    reported: list[Progress] = []
    report = Producer(kafka, broker.bootstrap_servers).produce(
        numbered(), rate_per_minute=10_000, total=600, stop=threading.Event(), on_progress=reported.append
    )
    assert report.sent == 600
    assert report.failed == {}
    assert report.rate_per_minute == pytest.approx(10_000, rel=0.01)
    assert 3.5 < report.seconds < 10
    assert 0 < report.latency_ms["p50"] <= report.latency_ms["p99"]
    assert sorted(int(value.split()[0]) for value in stored(broker, kafka.input.name)) == list(range(600))
    assert [progress.sent for progress in reported] == sorted(progress.sent for progress in reported)
    assert len(reported) >= 5


def test_messages_are_compressed_and_batched_as_the_settings_say(
    broker: Broker, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def recorded(**options: object) -> KafkaProducer:
        asked.append(options)
        return KafkaProducer(**options)

    monkeypatch.setattr(producing, "KafkaProducer", recorded)
    for compression in ("none", "gzip"):
        batching = kafka.producer.model_copy(update={"compression": compression, "linger_ms": 5, "batch_bytes": 1000})
        own = kafka.model_copy(update={"producer": batching})
        report = Producer(own, broker.bootstrap_servers).produce(
            numbered(), rate_per_minute=math.inf, total=50, stop=threading.Event()
        )
        assert report.sent == 50
    assert sorted(int(value.split()[0]) for value in stored(broker, kafka.input.name)) == sorted([*range(50)] * 2)
    used = [(options["compression_type"], options["linger_ms"], options["batch_size"]) for options in asked]
    assert used == [(None, 5, 1000), ("gzip", 5, 1000)]


def test_each_kind_is_counted_and_one_complaint_keeps_its_order(broker: Broker, kafka: KafkaSettings) -> None:
    made = Generator([ROW], Mix(malformed=0.1, duplicates=0.2, updated=0.2), seed=3, first_id=1, start=date(2026, 3, 1))
    report = Producer(kafka, broker.bootstrap_servers).produce(
        made, rate_per_minute=math.inf, total=3000, stop=threading.Event()
    )
    assert report.kinds == {kind: number for kind, number in made.counts.items() if number}
    assert len(stored(broker, kafka.input.name)) == report.sent == 3000


def test_a_message_that_is_too_large_fails_alone(broker: Broker, kafka: KafkaSettings) -> None:
    large = Message(b"1", b"x" * (kafka.input.max_message_bytes + 1), "new")
    near = Message(b"2", os.urandom(5_000_000), "new")
    messages = [large, near, *islice(numbered(), 5)]
    report = Producer(kafka, broker.bootstrap_servers).produce(
        messages, rate_per_minute=math.inf, total=7, stop=threading.Event()
    )
    assert report.failed == {"MessageSizeTooLargeError": 1}
    assert report.sent == 6
    assert near.value in stored(broker, kafka.input.name)


def test_a_stop_ends_the_run_with_exact_counts(broker: Broker, kafka: KafkaSettings) -> None:
    stop = threading.Event()

    def stop_soon(progress: Progress) -> None:
        if progress.sent > 100:
            stop.set()

    report = Producer(kafka, broker.bootstrap_servers).produce(
        numbered(), rate_per_minute=10_000, total=100_000, stop=stop, on_progress=stop_soon
    )
    assert 100 < report.sent < 1000
    assert report.failed == {}
    assert len(stored(broker, kafka.input.name)) == report.sent


def test_a_broker_that_stalls_loses_nothing(broker: Broker, kafka: KafkaSettings) -> None:
    signals = chain([signal.SIGSTOP], repeat(signal.SIGCONT))

    def stall(_: Progress) -> None:
        os.kill(broker.pid, next(signals))

    report = Producer(kafka, broker.bootstrap_servers).produce(
        numbered(), rate_per_minute=60_000, total=3000, stop=threading.Event(), on_progress=stall
    )
    assert (report.sent, report.failed) == (3000, {})
    assert report.latency_ms["p99"] > 200
    numbers = [int(value.split()[0]) for value in stored(broker, kafka.input.name)]
    assert sorted(numbers) == list(range(3000))


def test_messages_in_flight_are_bounded_and_dropped_at_a_stop(
    broker: Broker, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "STOP_SECONDS", 0.5)
    stop = threading.Event()
    taken = 0

    def messages() -> Iterator[Message]:
        nonlocal taken
        for taken, message in enumerate(numbered(), 1):
            if taken == 500:
                os.kill(broker.pid, signal.SIGSTOP)
            if taken == 500 + MAX_IN_FLIGHT // 2:
                threading.Timer(1.0, stop.set).start()
            yield message

    try:
        report = Producer(kafka, broker.bootstrap_servers).produce(
            messages(), rate_per_minute=math.inf, total=1_000_000, stop=stop
        )
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    assert taken <= 500 + MAX_IN_FLIGHT + 1
    assert report.sent + sum(report.failed.values()) == taken - 1  # the last one did not fit
    assert sum(report.failed.values()) > 5000
    assert len(stored(broker, kafka.input.name)) >= report.sent


def test_the_error_names_a_missing_topic(broker: Broker, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "TIMEOUT_MS", 500)
    missing = kafka.model_copy(update={"input": kafka.input.model_copy(update={"name": "not-there"})})
    with pytest.raises(ComplaintsError, match=r"The topic not-there at .* can't be written to"):
        Producer(missing, broker.bootstrap_servers).produce(
            numbered(), rate_per_minute=60, total=1, stop=threading.Event()
        )
