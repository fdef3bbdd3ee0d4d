"""A bounded run: stream for a few minutes at a fixed rate, account for every message, and report."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from silver.tables import COMPLAINTS
from streaming.kafka.generator import FIRST_GENERATED_ID, Generator, Mix, Row, read_rows
from streaming.kafka.producer import Producer, ProduceReport
from streaming.kafka.sending import TICK_SECONDS, Sending
from streaming.kafka.topics import consumer_of
from streaming.queries.definitions import spark_kafka_options
from streaming.runs.published import Stretch, published
from streaming.runs.report import Counts, RunReport, Span, counts, end_to_end, query_times, waits
from streaming.runs.resource_usage import UsageRecorder
from streaming.service.health import BatchHealth, batch_health
from streaming.service.live import LiveStream

COUNT_SECONDS = 3.0
STALLED_SECONDS = 120.0  # without progress, after which the report shows what is missing
ENDLESS = sys.maxsize


@dataclass(frozen=True)
class Plan:
    """What to send.

    Attributes:
        rate_per_minute: complaints per minute.
        total: total number of complaints; `ENDLESS` = until the run is stopped.
        samples: files from which complaints are generated.
        mix: shares of messages other than new complaints.
        narratives: share of complaints with a narrative; None = as in the samples.
        warm_up_s: seconds at the start that latencies exclude, at most half of the run; None = from the settings.
        seed: seed of the generator.
        known: generated complaints that the lake has already, which come again too.
    """

    rate_per_minute: float
    total: int
    samples: tuple[Path, ...]
    mix: Mix
    narratives: float | None = None
    warm_up_s: float | None = None
    seed: int = 1
    known: int = 0

    def generator(self, rows: Sequence[Row], first_id: int, day: date) -> Generator:
        """Return the message generator for these rows and this receipt date."""
        return Generator(
            rows,
            self.mix,
            seed=self.seed,
            first_id=first_id,
            known=self.known,
            narratives=self.narratives,
            start=day,
        )


@dataclass(frozen=True)
class View:
    """Progress shown during a run."""

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
    folders: Sequence[Path] = (),
) -> RunReport:
    """Start everything, send, wait until every message is accounted for, stop, and report.

    Setting `stop` ends the sending; messages already sent are still accounted for. The files in `folders` are counted
    once per minute, for a benchmark that shows how they grow.

    Raises:
        ComplaintsError: something can't start, a query failed too often, or sending failed.
    """
    rows = read_rows(plan.samples)
    with LiveStream(settings, notify) as stream:
        watched = _Watched(stream, plan.total, on_view, folders)
        topic = settings.kafka.input.name
        with consumer_of(settings.kafka, stream.bootstrap_servers) as consumer:
            span = Span(topic, _ends(consumer, topic), datetime.now(UTC))
            published_before = _ends(consumer, settings.kafka.predictions.name)
        generator = plan.generator(rows, _next_id(stream), span.began_at.date())
        producer = Producer(settings.kafka, stream.bootstrap_servers)
        produced = Sending(producer, generator, rate_per_minute=plan.rate_per_minute, total=plan.total, stop=stop)
        produced.follow(lambda sent: watched.tick("sending", sent))
        sent_until = datetime.now(UTC)
        found = _wait_until_complete(watched, span, produced.report)
        with consumer_of(settings.kafka, stream.bootstrap_servers) as consumer:
            predictions = settings.kafka.predictions.name
            stretch = Stretch(predictions, published_before, _ends(consumer, predictions))
        on_kafka = published(
            stream.lake.spark, spark_kafka_options(stream.lake, stream.bootstrap_servers), stretch, span
        )
        stream.health.poll(stream.supervisor.queries)
        requested = settings.streaming.warm_up_seconds if plan.warm_up_s is None else plan.warm_up_s
        warm_up = min(requested, produced.report.seconds / 2)
        return _build_report(watched, span, produced.report, found, on_kafka, (warm_up, sent_until))


def _build_report(
    watched: "_Watched",
    span: Span,
    sent: ProduceReport,
    found: Counts,
    on_kafka: DataFrame,
    steady: tuple[float, datetime],
) -> RunReport:
    stream, (warm_up, until) = watched.stream, steady
    since = span.began_at + timedelta(seconds=warm_up)
    complaints = sent.rate_per_minute * (until - since).total_seconds() / 60
    return RunReport(
        sent=sent.sent,
        failed=sum(sent.failed.values()),
        counts=found,
        rate_per_minute=sent.rate_per_minute,
        end_to_end=end_to_end(stream.lake, span, stream.supervisor.queries["score"].id, since),
        published=waits(on_kafka, since),
        queries=query_times(watched.batches, since, until),
        cpu_s_per_1000=1000 * watched.usage.cpu_seconds(since, until) / complaints if complaints else 0.0,
        others_cores=watched.usage.others_cores(since),
        warm_up_s=warm_up,
        restarts=stream.supervisor.restarts,
        model_version=stream.active_models.champion.version,
        batches=watched.batches,
        vitals=watched.usage.samples,
    )


class _Watched:
    """A stream with its monitoring: checks the queries, records resource usage, and shows progress."""

    def __init__(
        self, stream: LiveStream, total: int, on_view: Callable[[View], None], folders: Sequence[Path]
    ) -> None:
        self.stream = stream
        self.batches: list[BatchHealth] = []  # keeps all batches: a run has an end
        stream.health.listeners.append(lambda progress: self.batches.append(batch_health(progress)))
        self.usage = UsageRecorder(stream.lake.spark, folders)
        self._total = total
        self._on_view = on_view

    def tick(self, phase: str, sent: int) -> None:
        """Check the stream once; call it about every half second."""
        self.stream.tick()
        self.usage.poll()
        self._on_view(view(self.stream, phase, sent, self._total))


def view(stream: LiveStream, phase: str, sent: int, total: int) -> View:
    """Return the current progress of the stream."""
    latest = {query: batch.batch_ms for query, batch in stream.health.latest.items()}
    return View(phase, sent, total, latest, dict(stream.health.rows))


def _wait_until_complete(watched: _Watched, span: Span, sent: ProduceReport) -> Counts:
    """Return the counts by layer once every message is accounted for or progress has stalled."""
    found, counted, moved = None, 0.0, time.monotonic()
    while True:
        watched.tick("finishing", sent.sent)
        if time.monotonic() - counted > COUNT_SECONDS:
            before, found = found, counts(watched.stream.lake, span)
            counted = time.monotonic()
            moved = counted if found != before else moved
            if found.is_complete(sent.sent) or counted - moved > STALLED_SECONDS:
                return found
        time.sleep(TICK_SECONDS)


def _next_id(stream: LiveStream) -> int:
    highest = stream.lake.read(COMPLAINTS).agg(F.max("complaint_id")).first()
    return max(FIRST_GENERATED_ID, int(highest[0] or 0) + 1 if highest else 0)


def _ends(consumer: KafkaConsumer, topic: str) -> dict[int, int]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        msg = f"The topic {topic} has no partitions: has it been deleted?"
        raise ComplaintsError(msg)
    ends = consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
    return {position.partition: end for position, end in ends.items()}
