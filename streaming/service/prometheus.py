"""Metrics of a running stream in Prometheus format, on a loopback port.

Batches are reported as they complete; Kafka and gold are read at each scrape, so that a stalled stream shows up too.
None of this delays a batch.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.sql.query import query
from streaming.kafka.topics import admin_client
from streaming.tables import TABLES

HOST = "127.0.0.1"
SECONDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
FRESH_SECONDS = 60.0  # after this long, the rate of the last batch is reported as 0
BATCHES_KEPT = 1_000  # newest score batches between two scrapes whose latencies are reported
WAITS = """
    SELECT batch_id, epoch_ms(kafka_timestamp) FROM gold.decisions
    WHERE scored_at >= $since AND list_contains($batches, batch_id) AND kafka_timestamp IS NOT NULL
"""
QUARANTINED = "SELECT count(*) FROM silver.quarantine"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """The stream that is measured.

    Attributes:
        settings: the run's settings.
        bootstrap_servers: the broker's address.
        restarts: returns the number of restarts per query.
        model: returns the active model's name and version.
    """

    settings: Settings
    bootstrap_servers: str
    restarts: Callable[[], Mapping[str, int]]
    model: Callable[[], tuple[str, str]]


class Metrics:
    """Serves the metrics, as a context manager.

    Args:
        watched: the stream.
        port: on 127.0.0.1; 0 picks a free one.
    """

    def __init__(self, watched: Watched, port: int) -> None:
        self._registry = registry = CollectorRegistry()
        self._port = port
        query = ("query",)
        self._rows = Counter("complaints_rows", "Rows that the query has read.", query, registry=registry)
        self._batches = Histogram(
            "complaints_batch_seconds", "Duration of a batch.", query, buckets=SECONDS, registry=registry
        )
        self._input = Gauge("complaints_input_rows_per_second", "Rows that arrive.", query, registry=registry)
        self._processed = Gauge("complaints_processed_rows_per_second", "Rows processed.", query, registry=registry)
        self._scraped = _ScrapeCollector(watched)
        self._registry.register(self._scraped)

    def __enter__(self) -> Self:
        """Start serving.

        Raises:
            ComplaintsError: the port is taken.
        """
        try:
            self._server, self._thread = start_http_server(self._port, addr=HOST, registry=self._registry)
        except OSError as error:
            msg = (
                f"The port {self._port} of monitoring.metrics_port is not available ({error.strerror}): "
                "choose another one, or stop the program that uses it."
            )
            raise ComplaintsError(msg) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """URL of the metrics."""
        return f"http://{HOST}:{self._server.server_port}/metrics"

    def take(self, progress: Mapping[str, Any]) -> None:
        """Record Spark's progress of a completed batch."""
        name = progress["name"]
        self._rows.labels(name).inc(progress["numInputRows"])
        self._batches.labels(name).observe(progress["durationMs"].get("triggerExecution", 0) / 1000)
        ended = time.monotonic()
        for gauge, key in ((self._input, "inputRowsPerSecond"), (self._processed, "processedRowsPerSecond")):
            rate = float(progress.get(key) or 0.0)
            gauge.labels(name).set_function(_fresh(rate, ended))
        self._scraped.take(progress)


def _fresh(rate: float, ended: float) -> Callable[[], float]:
    return lambda: rate if time.monotonic() - ended < FRESH_SECONDS else 0.0


class _ScrapeCollector(Collector):
    """Metrics read at each scrape; those that can't be read are left out and logged."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._began = datetime.now(UTC).replace(tzinfo=None)
        self._read: dict[tuple[str, int], int] = {}  # (topic, partition) -> end offset of the newest ingest batch
        self._ended: dict[int, float] = {}  # unreported score batch -> end time in ms
        self._waits = Histogram(
            "complaints_end_to_end_seconds",
            "From a message's Kafka timestamp to the end of the batch that decided on it.",
            buckets=SECONDS,
            registry=None,
        )

    def take(self, progress: Mapping[str, Any]) -> None:
        """Record the end offsets of ingest and the unreported score batches."""
        if progress["name"] == "ingest":
            for topic, partitions in progress["sources"][0]["endOffset"].items():
                self._read |= {(topic, int(number)): int(offset) for number, offset in partitions.items()}
        elif progress["name"] == "score":
            began = datetime.fromisoformat(progress["timestamp"]).timestamp() * 1000
            with self._lock:
                self._ended[int(progress["batchId"])] = began + progress["durationMs"].get("triggerExecution", 0)
                if len(self._ended) > BATCHES_KEPT:
                    del self._ended[min(self._ended)]

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        restarts = CounterMetricFamily("complaints_restarts", "Starts after a failure.", labels=["query"])
        for name, count in self._watched.restarts().items():
            restarts.add_metric([name], count)
        model, version = self._watched.model()
        yield restarts
        yield InfoMetricFamily("complaints_model", "The active model.", {"name": model, "version": version})
        for read in (self._lags, self._quarantined, self._latencies):
            try:
                yield from read()
            except ComplaintsError as error:
                log.warning("A metric is missing: %s", error)

    def _lags(self) -> list[Metric]:
        """Return the messages that ingest has not read yet, even while it is stalled."""
        family = GaugeMetricFamily("complaints_lag", "Messages to be read.", labels=["topic", "partition"])
        read = dict(self._read)
        if not read:
            return []
        positions = {TopicPartition(*key): OffsetSpec.LATEST for key in read}
        with admin_client(self._watched.settings.kafka, self._watched.bootstrap_servers) as admin:
            ends = admin.list_partition_offsets(positions)
        for (topic, number), offset in read.items():
            behind = max(0, ends[TopicPartition(topic, number)].offset - offset)
            family.add_metric([topic, str(number)], behind)
        return [family]

    def _quarantined(self) -> list[Metric]:
        ((count,),) = query(self._watched.settings, TABLES, QUARANTINED).rows
        return [GaugeMetricFamily("complaints_quarantined", "Rows of silver.quarantine.", value=int(count))]

    def _latencies(self) -> list[Metric]:
        with self._lock:
            if ended := dict(self._ended):
                parameters = {"since": self._began, "batches": list(ended)}
                for batch, arrived in query(self._watched.settings, TABLES, WAITS, parameters).rows:
                    self._waits.observe(max(0.0, ended[batch] - arrived) / 1000)
                self._ended.clear()  # kept until the query has succeeded
            return list(self._waits.collect())
