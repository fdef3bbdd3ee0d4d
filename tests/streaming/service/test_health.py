"""Spark's progress of a batch becomes one row of gold.stream_health."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import functions as F

from gold.tables import STREAM_HEALTH
from lakehouse.logs import JsonFormatter
from lakehouse.tables.lake import Lake
from streaming.service.health import BatchHealth, HealthRecorder, batch_health
from tests.stream_fixtures import wait_until


def progress(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """Spark's progress of one batch of the ingest query."""
    return {
        "id": "6a1",
        "runId": "9b2",
        "name": "ingest",
        "timestamp": "2024-03-04T12:00:01.250Z",
        "batchId": 7,
        "numInputRows": 84,
        "durationMs": {
            "addBatch": 210,
            "commitOffsets": 4,
            "getBatch": 1,
            "latestOffset": 9,
            "queryPlanning": 12,
            "triggerExecution": 241,
            "walCommit": 5,
        },
        "sources": [{"latestOffset": {"t": {"0": 130, "1": 70}}, "endOffset": {"t": {"0": 100, "1": 70}}}],
        **values,
    }


def test_a_batch_is_reported_with_its_times_and_its_lag() -> None:
    assert batch_health(progress()) == BatchHealth(
        query="ingest",
        query_id="6a1",
        run_id="9b2",
        batch_id=7,
        started_at=datetime(2024, 3, 4, 12, 0, 1, 250_000, tzinfo=UTC),
        rows=84,
        batch_ms=241,
        offsets_ms=15,
        planning_ms=12,
        execution_ms=210,
        commit_ms=4,
        lag_rows=30,
    )


def test_the_lag_is_unknown_if_spark_does_not_report_it_or_kafka_is_not_read() -> None:
    first_after_a_restart = [{"latestOffset": None, "endOffset": {"t": {"0": 100}}}]
    assert batch_health(progress(sources=first_after_a_restart)).lag_rows is None
    assert batch_health(progress(name="refine")).lag_rows is None
    assert batch_health(progress(sources=[{"latestOffset": {"t": {"2": 5}}, "endOffset": {"t": {}}}])).lag_rows == 5


def test_a_phase_that_was_not_timed_is_zero() -> None:
    assert batch_health(progress(durationMs={"triggerExecution": 3})).execution_ms == 0


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The log output of the recorder, as JSON lines."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("streaming.service.health")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield output
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_each_batch_of_a_real_query_is_stored_and_logged_once_however_often_it_is_polled(
    lake: Lake, logged: io.StringIO
) -> None:
    lake.create([STREAM_HEALTH])
    numbers = lake.spark.readStream.format("rate").option("rowsPerSecond", 50).load()
    query = numbers.writeStream.queryName("score").format("noop").trigger(processingTime="100 milliseconds").start()
    polled: list[BatchHealth] = []
    recorder = HealthRecorder(lake, [lambda progress: polled.append(batch_health(progress))])

    def seen() -> int:
        recorder.poll({"score": query})
        return len(polled)

    wait_until(lambda: seen() >= 2, "two batches")
    recorder.flush()
    recorder.flush()
    wait_until(lambda: seen() >= 4, "two more batches")
    query.stop()
    recorder.poll({"score": query})
    recorder.flush()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [(line["query"], line["batch_id"], line["rows"]) for line in lines] == [
        ("score", batch.batch_id, batch.rows) for batch in polled
    ]
    stored = lake.read(STREAM_HEALTH)
    rows = {(row.run_id, row.batch_id): row for row in stored.collect()}
    assert stored.count() == len(rows) == len(polled) >= 4
    assert recorder.rows["score"] == sum(batch.rows for batch in polled)
    assert recorder.latest == {"score": polled[-1]}
    for batch in polled:
        row = rows[batch.run_id, batch.batch_id]
        assert (row.query, row.query_id, row.rows, row.batch_ms) == ("score", query.id, batch.rows, batch.batch_ms)
    assert {batch.rows > 0 for batch in polled} == {True}
    (first,) = stored.agg(F.min(F.col("started_at")).cast("string")).collect()
    assert first[0].startswith(min(batch.started_at for batch in polled).strftime("%Y-%m-%d %H:%M:%S"))
