"""A running stream serves current metrics per query to Prometheus, on the loopback interface only."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.lake import Lake
from silver.tables import QUARANTINE
from streaming.kafka.broker import Broker
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.service import prometheus as module
from streaming.service.prometheus import Metrics, Watched
from tests.stream_fixtures import with_topics

Labels = tuple[tuple[str, str], ...]
NOW = datetime.now(UTC)


@pytest.fixture
def settings(settings: Settings, shared_broker: Broker) -> Iterator[Settings]:
    """Settings with separate topics, and ten messages in each of two partitions."""
    own = with_topics(settings, shared_broker, "metrics")
    ensure_topics(own.kafka, shared_broker.bootstrap_servers)
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for number in range(20):
        producer.send(own.kafka.input.name, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()
    yield own
    with admin_client(own.kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([own.kafka.input.name, own.kafka.predictions.name])


@pytest.fixture
def metrics(settings: Settings) -> Iterator[Metrics]:
    """The metrics of a stream whose refine query was restarted twice."""
    watched = Watched(
        settings, str(settings.kafka.bootstrap_servers), lambda: {"ingest": 0, "refine": 2}, lambda: ("resolution", "7")
    )
    with Metrics(watched, 0) as serving:
        yield serving


def scraped(metrics: Metrics) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    text = requests.get(metrics.address, timeout=30).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def progress(name: str, batch: int, milliseconds: int, **values: Any) -> dict[str, Any]:  # noqa: ANN401
    """Spark's progress of a finished batch."""
    return {
        "name": name, "batchId": batch, "numInputRows": 20, "timestamp": NOW.isoformat(),
        "inputRowsPerSecond": 40.0, "processedRowsPerSecond": 80.0, "durationMs": {"triggerExecution": milliseconds},
        "sources": [{}], **values,
    }  # fmt: skip


def of(query: str, **more: str) -> Labels:
    return tuple(sorted({"query": query, **more}.items()))


def test_batches_are_reported_per_query_with_rates_and_durations(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.take(progress("refine", 3, 600))
    metrics.take(progress("refine", 4, 2_500))
    metrics.take(progress("score", 1, 900))
    found = scraped(metrics)
    assert found["complaints_rows_total", of("refine")] == 40
    assert found["complaints_batch_seconds_count", of("refine")] == 2
    assert found["complaints_batch_seconds_sum", of("refine")] == pytest.approx(3.1)
    assert [found["complaints_batch_seconds_bucket", of("refine", le=le)] for le in ("0.5", "0.75", "3.0")] == [0, 1, 2]
    assert found["complaints_input_rows_per_second", of("score")] == 40
    assert found["complaints_processed_rows_per_second", of("score")] == 80
    assert found["complaints_restarts_total", of("refine")] == 2
    assert found["complaints_model_info", (("name", "resolution"), ("version", "7"))] == 1
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    assert scraped(metrics)["complaints_input_rows_per_second", of("score")] == 0, (
        "without a recent batch there is no rate"
    )


def test_the_lag_grows_while_the_stream_is_stalled(metrics: Metrics, settings: Settings) -> None:
    topic = settings.kafka.input.name
    assert not any(name == "complaints_lag" for name, _ in scraped(metrics)), (
        "the lag is unknown before the first batch"
    )
    metrics.take(progress("ingest", 0, 100, sources=[{"endOffset": {topic: {"0": 4, "1": 10}}}]))
    lags = {labels: value for (name, labels), value in scraped(metrics).items() if name == "complaints_lag"}
    assert lags == {(("partition", "0"), ("topic", topic)): 6, (("partition", "1"), ("topic", topic)): 0}


def test_waits_and_quarantined_rows_are_counted_in_the_tables(metrics: Metrics, settings: Settings, lake: Lake) -> None:
    assert ("complaints_quarantined", ()) not in scraped(metrics), "there is no lake yet"
    own = Lake(lake.spark, settings)
    own.create([BRONZE, QUARANTINE, DECISIONS])
    refused = [{"record_id": str(number), "reasons": ["not_json"]} for number in range(3)]
    own.append(own.frame(refused, QUARANTINE), QUARANTINE, "test:0")
    waited = {1: 0.4, 2: 1.2, 3: 9.0}  # batch 3 has not been reported as finished yet
    own.append(own.frame([decision(batch, seconds) for batch, seconds in waited.items()], DECISIONS), DECISIONS, "t:0")
    metrics.take(progress("score", 1, 1_000))
    metrics.take(progress("score", 2, 1_000))
    for _ in range(2):  # a wait is reported once, however often it is scraped
        found = scraped(metrics)
        assert found["complaints_quarantined", ()] == 3
        assert found["complaints_end_to_end_seconds_count", ()] == 2
        assert found["complaints_end_to_end_seconds_sum", ()] == pytest.approx(1.4 + 2.2, abs=0.01)


def decision(batch: int, seconds: float) -> dict[str, object]:
    """A decision of a batch that started now, on a message that arrived `seconds` earlier."""
    filler = {"string": "low", "bigint": batch, "double": 0.5, "boolean": False}
    values = {column.name: filler.get(column.type) for column in DECISIONS.columns}
    scored_at = datetime.now(UTC) + timedelta(hours=1)  # of this run, however long ago the module was imported
    times = {"scored_at": scored_at, "kafka_timestamp": NOW - timedelta(seconds=seconds)}
    return {**values, **times, "batch_id": batch}


def test_a_port_in_use_is_named(metrics: Metrics) -> None:
    port = int(metrics.address.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(ComplaintsError, match=rf"The port {port} of monitoring\.metrics_port is not available"):
        Metrics(metrics._scraped._watched, port).__enter__()


def test_only_the_loopback_interface_is_served(metrics: Metrics) -> None:
    assert metrics.address.startswith("http://127.0.0.1:")
    port = int(metrics.address.rsplit(":", 1)[1].split("/")[0])
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # free: the server does not listen on all addresses
