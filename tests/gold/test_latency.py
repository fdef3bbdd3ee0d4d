"""A delay starts at the message's Kafka timestamp, in milliseconds, whichever engine computes it."""

import duckdb
import pytest
from pyspark.sql import SparkSession

from gold.latency import latency_ms, since_kafka_ms

DECISION = """
    (SELECT {kafka} AS kafka_timestamp, TIMESTAMP '2026-01-02 03:00:02.5' AS scored_at,
            TIMESTAMP '2026-01-02 03:00:04' AS visible_at)
"""
ON_KAFKA = DECISION.format(kafka="TIMESTAMP '2026-01-02 03:00:00.25'")
FROM_A_FILE = DECISION.format(kafka="CAST(NULL AS TIMESTAMP)")
DELAYS = f"{latency_ms(millis='epoch_ms')}, {since_kafka_ms('visible_at', millis='epoch_ms')}"
IN_SPARK = f"{latency_ms()}, {since_kafka_ms('visible_at')}"


@pytest.mark.parametrize(("decision", "expected"), [(ON_KAFKA, (2_250, 3_750)), (FROM_A_FILE, (None, None))])
def test_delays_start_on_kafka_and_a_complaint_from_a_file_has_none(
    spark: SparkSession, decision: str, expected: tuple[int | None, ...]
) -> None:
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {DELAYS} FROM {decision}").fetchall() == [expected]  # noqa: S608
    assert [tuple(row) for row in spark.sql(f"SELECT {IN_SPARK} FROM {decision}").collect()] == [expected]  # noqa: S608
