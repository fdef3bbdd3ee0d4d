"""A failed query restarts with backoff until it is given up; a stop lets the current batch finish."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.settings_sections import StreamingSettings
from streaming.queries.definitions import Batch
from streaming.queries.supervisor import Gate, Supervisor, failure
from tests.stream_fixtures import wait_until


def streaming_settings(retries: int, backoff_seconds: float) -> StreamingSettings:
    return load_settings().streaming.model_copy(update={"retries": retries, "backoff_seconds": backoff_seconds})


def query(spark: SparkSession, write: Batch, checkpoint: Path) -> StreamingQuery:
    """Start a query over the rate source that passes each batch to `write`."""
    numbers = spark.readStream.format("rate").option("rowsPerSecond", 20).load()
    stream = numbers.writeStream.option("checkpointLocation", str(checkpoint)).foreachBatch(write)
    return stream.trigger(processingTime="100 milliseconds").start()


def starting(spark: SparkSession, write: Batch, checkpoint: Path) -> Callable[[], StreamingQuery]:
    return partial(query, spark, write, checkpoint)


def test_a_query_that_keeps_failing_is_restarted_with_backoff_and_given_up_with_its_reason(
    spark: SparkSession, tmp_path: Path
) -> None:
    attempts: list[float] = []
    notices: list[str] = []

    def fail(_: DataFrame, __: int) -> None:
        attempts.append(time.monotonic())
        msg = "The disk of the lake is full: make room."
        raise ComplaintsError(msg) from OSError(28, "No space left on device")

    supervisor = Supervisor(streaming_settings(2, 1.0), Gate(), notices.append)
    supervisor.start({"refine": starting(spark, fail, tmp_path)})
    with pytest.raises(ComplaintsError) as given_up:
        watch(supervisor, lambda: False)
    reason = "ComplaintsError: The disk of the lake is full: make room."
    assert str(given_up.value) == f"The refine query failed 3 times and was given up: {reason}"
    assert notices == [
        f"The refine query failed and will restart in 1 s: {reason}",
        "The refine query is running again.",
        f"The refine query failed and will restart in 2 s: {reason}",
        "The refine query is running again.",
    ]
    assert supervisor.restarts == {"refine": 2}
    assert len(attempts) == 3
    assert attempts[1] - attempts[0] >= 1
    assert attempts[2] - attempts[1] >= 2


def watch(supervisor: Supervisor, done: Callable[[], bool]) -> None:
    """Check the queries until a condition holds."""

    def checked() -> bool:
        supervisor.check()
        return done()

    wait_until(checked, "the expected state of the supervisor")


def test_a_query_that_failed_once_resumes_where_it_stopped_and_the_other_keeps_running(
    spark: SparkSession, tmp_path: Path
) -> None:
    batches: list[int] = []
    others: list[int] = []

    def fail_once(_: DataFrame, batch_id: int) -> None:
        batches.append(batch_id)
        if batches == [0, 1]:
            msg = "a transient error"
            raise RuntimeError(msg)

    supervisor = Supervisor(streaming_settings(1, 0.1), Gate(), lambda _: None)
    supervisor.start(
        {
            "score": starting(spark, fail_once, tmp_path / "score"),
            "ingest": starting(spark, lambda _, batch_id: others.append(batch_id), tmp_path / "ingest"),
        }
    )
    other = supervisor.queries["ingest"]
    watch(supervisor, lambda: len(batches) >= 4)
    assert batches[:4] == [0, 1, 1, 2]
    assert supervisor.restarts == {"score": 1, "ingest": 0}
    assert supervisor.queries["ingest"] is other
    assert other.isActive
    assert others == sorted(set(others))
    supervisor.stop()
    assert not any(query.isActive for query in supervisor.queries.values())


def test_a_stop_lets_the_current_batch_finish_and_starts_no_other(spark: SparkSession, tmp_path: Path) -> None:
    started: list[int] = []
    ended: list[int] = []
    in_batch, go_on = threading.Event(), threading.Event()

    def slow(_: DataFrame, batch_id: int) -> None:
        started.append(batch_id)
        if batch_id == 1:
            in_batch.set()
            assert go_on.wait(60)
        ended.append(batch_id)

    gate = Gate()
    supervisor = Supervisor(streaming_settings(0, 0.1), gate, lambda _: None)
    supervisor.start({"refine": starting(spark, gate(slow), tmp_path)})
    assert in_batch.wait(60)
    stopping = threading.Thread(target=supervisor.stop)
    stopping.start()
    stopping.join(1)
    assert stopping.is_alive()  # it waits for the batch
    quiet_meanwhile = gate.is_quiet
    go_on.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert started == ended == [0, 1]
    assert (quiet_meanwhile, gate.is_quiet) == (False, True)
    assert not supervisor.queries["refine"].isActive
    assert committed(tmp_path) == {0, 1}


def committed(checkpoint: Path) -> set[int]:
    return {int(path.name) for path in (checkpoint / "commits").iterdir() if path.name.isdigit()}


def test_a_query_that_ended_without_an_error_is_reported_as_such(spark: SparkSession, tmp_path: Path) -> None:
    ending = query(spark, lambda _, __: None, tmp_path)
    ending.stop()
    assert failure(ending) == "it stopped without an error"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "org.apache.kafka.common.errors.SaslAuthenticationException: Invalid username\n=== Streaming Query ===",
            "SaslAuthenticationException: Invalid username; check the security settings of kafka: ",
        ),
        (
            "org.apache.kafka.common.errors.SslAuthenticationException: Failed to process messages\n=== Streaming",
            "SslAuthenticationException: Failed to process messages; check the security settings of kafka: ",
        ),
        (
            "Failed to create new KafkaAdminClient\n=== Streaming Query ===",
            "Failed to create new KafkaAdminClient; check the security settings of kafka: ",
        ),
    ],
)
def test_a_query_that_kafka_rejects_is_reported_with_the_command_that_tries_the_settings(
    text: str, reason: str
) -> None:
    ended = Mock(spec=StreamingQuery)
    ended.exception.return_value = text
    assert failure(ended) == f"{reason}`complaints setup` connects with them"
