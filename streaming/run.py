"""A run with an end: stream for some minutes at a rate, account for every message, and report."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from silver.tables import COMPLAINTS
from streaming.generator import Generator, Row, read_rows
from streaming.live import LiveStream
from streaming.producer import Producer, ProduceReport, Progress
from streaming.report import Counts, RunReport, Span, counts, end_to_end_ms, query_times
from streaming.topics import client_config

TICK_SECONDS = 0.5
COUNT_SECONDS = 3.0
STALLED_SECONDS = 120.0  # without a row moving on: then the report says what is missing
FIRST_GENERATED_ID = 100_000_000  # above the CFPB's own numbers


@dataclass(frozen=True)
class Trouble:
    """Shares of a run's messages that are not simply new complaints.

    Attributes:
        malformed: can't be used.
        duplicates: repeat a complaint.
        updated: bring an outcome.
    """

    malformed: float = 0.0
    duplicates: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What to send.

    Attributes:
        rate_per_minute: complaints a minute.
        total: complaints in all.
        samples: files from which complaints are made.
        trouble: shares of other messages than new complaints.
        seed: of the generator.
    """

    rate_per_minute: float
    total: int
    samples: tuple[Path, ...]
    trouble: Trouble
    seed: int = 1

    def generator(self, rows: Sequence[Row], first_id: int, day: date) -> Generator:
        """The messages, made from these rows and received on this day."""
        return Generator(rows, seed=self.seed, first_id=first_id, start=day, **asdict(self.trouble))


@dataclass(frozen=True)
class View:
    """What a run shows while it goes on."""

    phase: str
    sent: int
    total: int
    last_batch_ms: Mapping[str, int]
    rows: Mapping[str, int]


def run(
    settings: Settings,
    plan: Plan,
    *,
    notify: Callable[[str], None],
    on_view: Callable[[View], None],
    stop: threading.Event,
) -> RunReport:
    """Start everything, send, wait until every message has its place, stop, and report.

    Setting `stop` ends the sending; what was sent is still accounted for.

    Raises:
        ComplaintsError: something can't start, a query was given up, or sending failed.
    """
    rows = read_rows(plan.samples)
    with LiveStream(settings, notify) as stream:
        topic = settings.kafka.input.name
        with _consumer(settings, stream.bootstrap_servers) as consumer:
            span = Span(topic, _ends(consumer, topic), datetime.now(UTC))
            published_before = _ends(consumer, settings.kafka.predictions.name)
        generator = plan.generator(rows, _next_id(stream), span.began_at.date())
        produced = _Sending(Producer(settings.kafka, stream.bootstrap_servers), generator, plan, stop)
        produced.follow(stream, on_view)
        found = _settled(stream, span, produced.report, on_view, plan.total)
        with _consumer(settings, stream.bootstrap_servers) as consumer:
            published = _published(consumer, settings.kafka.predictions.name, published_before, span)
        warm_up = min(settings.streaming.warm_up_seconds, produced.report.seconds / 2)
        since = span.began_at + timedelta(seconds=warm_up)
        stream.health.poll(stream.supervisor.queries)
        return RunReport(
            sent=produced.report.sent,
            failed=sum(produced.report.failed.values()),
            counts=found,
            published=published,
            rate_per_minute=produced.report.rate_per_minute,
            end_to_end=end_to_end_ms(stream.lake, span, stream.supervisor.queries["score"].id, since),
            queries=query_times(stream.health.batches, since),
            warm_up_s=warm_up,
            restarts=stream.supervisor.restarts,
            model_version=stream.model.version,
        )


class _Sending:
    """Sends in a thread of its own, so that the queries are looked after meanwhile."""

    def __init__(self, producer: Producer, generator: Generator, plan: Plan, stop: threading.Event) -> None:
        self._progress: Progress | None = None
        self._report: ProduceReport | None = None
        self._error: BaseException | None = None
        self._total = plan.total
        self._stop = stop

        def send() -> None:
            try:
                self._report = producer.produce(
                    generator,
                    rate_per_minute=plan.rate_per_minute,
                    total=plan.total,
                    stop=stop,
                    on_progress=lambda progress: setattr(self, "_progress", progress),
                )
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._error = error

        self._thread = threading.Thread(target=send, name="produce")

    @property
    def report(self) -> ProduceReport:
        """What was sent, once it ended."""
        if self._report is None:
            msg = "sending has not ended"
            raise RuntimeError(msg)
        return self._report

    def follow(self, stream: LiveStream, on_view: Callable[[View], None]) -> None:
        """Send, looking after the queries, until all is sent; an error there stops the sending."""
        self._thread.start()
        try:
            while self._thread.is_alive():
                stream.tick()
                on_view(view(stream, "sending", self._progress.sent if self._progress else 0, self._total))
                self._thread.join(TICK_SECONDS)
        finally:
            if self._thread.is_alive():
                self._stop.set()
                self._thread.join()
        if self._error is not None:
            raise self._error


def view(stream: LiveStream, phase: str, sent: int, total: int) -> View:
    """The stream as it is now."""
    latest: dict[str, int] = {}
    rows: dict[str, int] = {}
    for batch in sorted(stream.health.batches, key=lambda batch: batch.started_at):
        latest[batch.query] = batch.batch_ms
        rows[batch.query] = rows.get(batch.query, 0) + batch.rows
    return View(phase, sent, total, latest, rows)


def _settled(
    stream: LiveStream, span: Span, sent: ProduceReport, on_view: Callable[[View], None], total: int
) -> Counts:
    """The counts by layer once every message has its place, or when nothing has moved for long."""
    found, counted, moved = None, 0.0, time.monotonic()
    while True:
        stream.tick()
        on_view(view(stream, "finishing", sent.sent, total))
        if time.monotonic() - counted > COUNT_SECONDS:
            before, found = found, counts(stream.lake, span)
            counted = time.monotonic()
            moved = counted if found != before else moved
            if found.is_complete(sent.sent) or counted - moved > STALLED_SECONDS:
                return found
        time.sleep(TICK_SECONDS)


def _next_id(stream: LiveStream) -> int:
    highest = stream.lake.read(COMPLAINTS).agg(F.max("complaint_id")).first()
    return max(FIRST_GENERATED_ID, int(highest[0] or 0) + 1 if highest else 0)


@contextmanager
def _consumer(settings: Settings, bootstrap_servers: str) -> Iterator[KafkaConsumer]:
    config = client_config(settings.kafka, bootstrap_servers)
    consumer = KafkaConsumer(**config, enable_auto_commit=False, consumer_timeout_ms=10_000)
    try:
        yield consumer
    finally:
        consumer.close()


def _ends(consumer: KafkaConsumer, topic: str) -> dict[int, int]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        msg = f"The topic {topic} has no partitions: has it been deleted?"
        raise ComplaintsError(msg)
    ends = consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
    return {position.partition: end for position, end in ends.items()}


def _published(consumer: KafkaConsumer, topic: str, begin: Mapping[int, int], span: Span) -> int:
    """How many of the run's complaints have their decision on Kafka; read back, each counted once."""
    ends = {TopicPartition(topic, partition): end for partition, end in _ends(consumer, topic).items()}
    consumer.assign(list(ends))
    for position in ends:
        consumer.seek(position, begin.get(position.partition, 0))
    seen: set[str] = set()
    waiting = {position for position, end in ends.items() if begin.get(position.partition, 0) < end}
    for message in consumer if waiting else ():
        record = json.loads(message.value)["record_id"]
        source, partition, offset = record.rsplit("/", 2) if record.count("/") >= 2 else ("", "0", "0")  # noqa: PLR2004
        if source == span.topic and int(offset) >= span.begin.get(int(partition), 0):
            seen.add(record)
        position = TopicPartition(topic, message.partition)
        if message.offset + 1 >= ends[position]:
            waiting.discard(position)
        if not waiting:
            break
    return len(seen)
