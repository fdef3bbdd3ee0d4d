"""The status file follows real queries: failed, stalled, idle, and stopped."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.settings import load_settings
from streaming.queries.supervisor import Gate, Supervisor
from streaming.service.heartbeat import Heartbeat
from streaming.status import STALLED, read_status
from tests.stream_fixtures import wait_until

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
MODEL = "resolution version 3"


@pytest.fixture
def blocked() -> Iterator[threading.Event]:
    """Blocks the batches of a query until it is set."""
    event = threading.Event()
    yield event
    event.set()


def test_each_query_is_reported_as_it_is(spark: SparkSession, tmp_path: Path, blocked: threading.Event) -> None:
    def start(batch: Any) -> StreamingQuery:  # noqa: ANN401
        numbers = spark.readStream.format("rate").load()
        return numbers.writeStream.foreachBatch(batch).trigger(processingTime="200 milliseconds").start()

    def fail(_: DataFrame, __: int) -> None:
        msg = "the disk is full"
        raise OSError(msg)

    settings = load_settings().streaming.model_copy(update={"retries": 5, "backoff_seconds": 600})
    supervisor = Supervisor(settings, Gate(), lambda _: None)
    now = NOW
    with Heartbeat(tmp_path, lambda: now) as heartbeat:
        status = read_status(tmp_path)
        assert status
        assert status.phase == "starting"
        batches = {"ingest": lambda *_: None, "refine": fail, "score": lambda *_: blocked.wait(60)}
        supervisor.start({name: lambda batch=batch: start(batch) for name, batch in batches.items()})  # type: ignore[misc]
        queries = supervisor.queries
        wait_until(lambda: not queries["refine"].isActive, "the failure")
        wait_until(lambda: "Processing" in queries["score"].status["message"], "the blocked batch")
        heartbeat.beat(supervisor, {}, MODEL)
        first = read_status(tmp_path)
        now = NOW + STALLED + timedelta(seconds=1)
        wait_until(lambda: not queries["ingest"].status["isTriggerActive"], "a pause between two triggers")
        heartbeat.beat(supervisor, {}, MODEL)
        then = read_status(tmp_path)
        heartbeat.enter("stopping")
        stopping = read_status(tmp_path)
        blocked.set()
        supervisor.stop()
    assert first
    assert then
    assert {name: first.state_of(name, NOW) for name in batches} == {
        "ingest": "active",
        "refine": "restarting",
        "score": "active",
    }
    assert then.state_of("score", now) == "stalled"
    assert then.state_of("refine", now) == "restarting"
    assert then.state_of("summarise", now) == "not running"
    assert (then.model, then.at) == (MODEL, now)
    assert stopping
    assert stopping.phase == "stopping"
    assert read_status(tmp_path) is None  # it was stopped


def test_only_a_stream_that_ran_and_failed_leaves_its_status(tmp_path: Path) -> None:
    def run_and_fail(*, has_run: bool) -> None:
        with Heartbeat(tmp_path, lambda: NOW) as heartbeat:
            if has_run:
                heartbeat.enter("running")
            msg = "the refine query failed too often"
            raise OSError(msg)

    for has_run, phase in ((False, None), (True, "failed"), (False, "failed")):  # the last start is refused
        with pytest.raises(OSError, match="too often"):
            run_and_fail(has_run=has_run)
        status = read_status(tmp_path)
        assert (status and status.phase) == phase
    assert status
    assert status.is_silent(NOW + timedelta(seconds=1))
