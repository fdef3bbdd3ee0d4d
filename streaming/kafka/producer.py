"""Send messages to the input topic at a fixed rate, and track the result of each.

Reads messages; writes the Kafka topic `kafka.input`. The schedule is open-loop: a slow broker doesn't slow it down, and
messages that could not be sent on time are sent as soon as possible.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

from kafka import KafkaProducer
from kafka.errors import KafkaError

from bronze.land import SYNTHETIC_HEADER
from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings
from streaming.kafka.generator import Message
from streaming.kafka.topics import TIMEOUT_MS, client_config, unreachable

MAX_IN_FLIGHT = 10_000  # messages; the client's own queue has no bound
MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024
PROGRESS_SECONDS = 0.5
STOP_SECONDS = 15.0  # that a stop waits for messages in flight, which then count as failed
_SYNTHETIC = [(SYNTHETIC_HEADER, b"true")]  # a recombined complaint must never pass for a real one
_PER_DOUBLING = 50  # latencies are counted in steps of 1.4 %


@dataclass(frozen=True)
class Progress:
    """Progress of a run: messages acknowledged, failed, in flight and in total, and elapsed seconds.

    `latency_ms` is the median so far, from a message's scheduled time to its acknowledgment.
    """

    sent: int
    failed: int
    in_flight: int
    total: int
    seconds: float
    latency_ms: float


@dataclass(frozen=True)
class ProduceReport:
    """Result of a run.

    Attributes:
        sent: messages that the broker acknowledged.
        kinds: acknowledged messages by kind.
        failed: messages not acknowledged, by the client's error; IllegalStateError means dropped by a stop.
        rate_per_minute: messages per minute passed to the client on schedule; 0 if there were none.
        seconds: from the first message until all results were known.
        latency_ms: p50 and p99 from a message's scheduled time to its acknowledgment; 0 if none was.
    """

    sent: int
    kinds: Mapping[str, int]
    failed: Mapping[str, int]
    rate_per_minute: float
    seconds: float
    latency_ms: Mapping[str, float]


class _Results:
    """Results of the messages so far; the client's own thread writes to it too."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.in_flight = 0
        self._bytes = 0
        self._latencies: Counter[int] = Counter()
        self._changed = threading.Condition()

    def take(self, size: int, stop: threading.Event) -> bool:
        """Count a message as in flight once there is room for it; False if a stop came first."""
        with self._changed:
            while self.in_flight >= MAX_IN_FLIGHT or self._bytes >= MAX_BYTES_IN_FLIGHT:
                if stop.is_set():
                    return False
                self._changed.wait(0.1)
            self.in_flight += 1
            self._bytes += size
        return True

    def acknowledge(self, size: int, kind: str, due: float, _: object) -> None:
        step = math.ceil(_PER_DOUBLING * math.log2(max(1e-6, time.monotonic() - due)))
        with self._changed:
            self.kinds[kind] += 1
            self._latencies[step] += 1
            self._leave(size)

    def fail(self, size: int, error: Exception) -> None:
        with self._changed:
            self.failed[type(error).__name__] += 1
            self._leave(size)

    def _leave(self, size: int) -> None:
        self.in_flight -= 1
        self._bytes -= size
        self._changed.notify_all()

    def wait_until_empty(self, stop: threading.Event, on_wait: Callable[[], None]) -> None:
        """Wait for messages in flight; after a stop, at most `STOP_SECONDS`."""
        deadline = math.inf
        while time.monotonic() < deadline:
            if stop.is_set() and deadline == math.inf:
                deadline = time.monotonic() + STOP_SECONDS
            with self._changed:
                if not self.in_flight or self._changed.wait_for(lambda: not self.in_flight, PROGRESS_SECONDS):
                    return
            on_wait()

    def latency_ms(self, share: float) -> float:
        """Return the latency quantile at this share of the acknowledged messages."""
        with self._changed:
            latencies = sorted(self._latencies.items())
        wanted = share * sum(count for _, count in latencies)
        for step, count in latencies:
            wanted -= count
            if wanted <= 0:
                return round(1000 * math.exp2(step / _PER_DOUBLING), 1)
        return 0.0


class Producer:
    """Sends messages to the topic `kafka.input`.

    Args:
        kafka: the settings.
        bootstrap_servers: ``host:port``, several separated by commas.
    """

    def __init__(self, kafka: KafkaSettings, bootstrap_servers: str) -> None:
        self._kafka = kafka
        self._bootstrap_servers = bootstrap_servers

    def produce(
        self,
        messages: Iterable[Message],
        *,
        rate_per_minute: float,
        total: int,
        stop: threading.Event,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> ProduceReport:
        """Send messages on a fixed schedule, and wait for the result of each.

        Args:
            messages: at least `total`; with fewer, all are sent.
            rate_per_minute: messages per minute; infinity sends as fast as the broker accepts them.
            total: number of messages.
            stop: when set, no more are sent, and messages in flight have `STOP_SECONDS` to complete.
            on_progress: called about twice per second, in the calling thread.

        Raises:
            ComplaintsError: the broker can't be reached, or the topic doesn't exist.
        """
        with closing(self._client()) as client:
            run = _Run(client, self._kafka.input.name, rate_per_minute, total, on_progress)
            run.send(messages, stop)
            run.results.wait_until_empty(stop, run.report_progress)
            if run.results.in_flight:
                client._sender.force_close()  # noqa: SLF001  # close() alone fails while a broker doesn't answer
                client._sender.join(STOP_SECONDS)  # noqa: SLF001
            return run.report()

    def _client(self) -> KafkaProducer:
        topic, batching = self._kafka.input, self._kafka.producer
        try:
            client = KafkaProducer(
                **client_config(self._kafka, self._bootstrap_servers),
                compression_type=None if batching.compression == "none" else batching.compression,
                linger_ms=batching.linger_ms,
                batch_size=batching.batch_bytes,
                max_request_size=topic.max_message_bytes,
                max_block_ms=TIMEOUT_MS,
                allow_auto_create_topics=False,
            )
        except (KafkaError, OSError, ValueError) as error:
            raise unreachable(self._kafka, self._bootstrap_servers, error) from error
        try:
            client.partitions_for(topic.name)
        except KafkaError as error:
            client.close()
            msg = f"The topic {topic.name} at {self._bootstrap_servers} can't be written to ({error}): create it first."
            raise ComplaintsError(msg) from error
        return client


class _Run:
    """One run of a producer: its schedule and the results of its messages."""

    def __init__(
        self,
        client: KafkaProducer,
        topic: str,
        rate_per_minute: float,
        total: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.results = _Results()
        self._client = client
        self._topic = topic
        self._interval = 60 / rate_per_minute
        self._total = total
        self._on_progress = on_progress
        self._taken = 0
        self._began = self._last = self._reported = time.monotonic()

    def send(self, messages: Iterable[Message], stop: threading.Event) -> None:
        """Pass each message to the client when it is due."""
        for message in islice(messages, self._total):
            due = self._began + self._taken * self._interval
            while (early := due - time.monotonic()) > 0 and not stop.wait(min(early, PROGRESS_SECONDS)):
                self.report_progress()
            size = len(message.value)
            if stop.is_set() or not self.results.take(size, stop):
                return
            self._taken += 1
            self._last = time.monotonic()
            self._send(message, due if self._interval else self._last, size)
            self.report_progress()

    def _send(self, message: Message, due: float, size: int) -> None:
        failed = partial(self.results.fail, size)
        try:
            headers = _SYNTHETIC if message.is_synthetic else None
            future = self._client.send(self._topic, message.value, message.key, headers=headers)
        except KafkaError as error:  # too large, or the metadata has expired
            failed(error)
        else:
            future.add_callback(partial(self.results.acknowledge, size, message.kind, due))
            future.add_errback(failed)

    def report_progress(self) -> None:
        """Report progress, at most once per `PROGRESS_SECONDS`."""
        now = time.monotonic()
        if now - self._reported >= PROGRESS_SECONDS:
            self._reported = now
            results = self.results
            sent, failed = results.kinds.total(), results.failed.total()
            latency = results.latency_ms(0.5)
            self._on_progress(Progress(sent, failed, results.in_flight, self._total, now - self._began, latency))

    def report(self) -> ProduceReport:
        """Return the result of the run."""
        results = self.results
        sending = self._last - self._began + self._interval
        return ProduceReport(
            sent=results.kinds.total(),
            kinds=dict(results.kinds),
            failed=dict(results.failed),
            rate_per_minute=round(60 * self._taken / sending, 1) if sending else 0.0,
            seconds=round(time.monotonic() - self._began, 3),
            latency_ms={"p50": results.latency_ms(0.5), "p99": results.latency_ms(0.99)},
        )
