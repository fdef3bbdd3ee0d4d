"""Read a run's decisions back from Kafka, one row per complaint, with their latency."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.latency import since_kafka_ms
from streaming.runs.report import Span

_NEEDED = "record_id string, kafka_timestamp timestamp"


@dataclass(frozen=True)
class Stretch:
    """A range of a topic's messages: `begin` (inclusive, default 0) and `end` (exclusive) by partition."""

    topic: str
    begin: Mapping[int, int]
    end: Mapping[int, int]


def published(spark: SparkSession, kafka: Mapping[str, str], stretch: Stretch, span: Span) -> DataFrame:
    """Return how long the complaints of a run waited until their decisions were published to Kafka.

    Args:
        spark: the session that reads the topic.
        kafka: Spark's options: servers, security.
        stretch: the run's range of the predictions topic.
        span: the run.

    Returns:
        `record_id`, `kafka_timestamp` of the complaint, and `waited_ms` from then until the decision's message.
        Grain: one row per complaint; if its decision was published several times, the first counts.
    """
    begin = {partition: stretch.begin.get(partition, 0) for partition in stretch.end}
    messages = (
        spark.read.format("kafka")
        .options(**kafka)
        .option("subscribe", stretch.topic)
        .option("startingOffsets", json.dumps({stretch.topic: begin}))
        .option("endingOffsets", json.dumps({stretch.topic: stretch.end}))
        .option("failOnDataLoss", value=False)
        .load()
    )
    # A message without a value is the tombstone of an erased complaint, not a decision.
    decision = F.from_json(F.col("value").cast("string"), _NEEDED)
    decided = messages.select(decision.alias("decision"), F.col("timestamp").alias("published_at"))
    ours = decided.select("decision.*", "published_at").where(span.holds())
    waited = F.expr(since_kafka_ms("min(published_at)"))
    return ours.groupBy("record_id", "kafka_timestamp").agg(waited.alias("waited_ms"))
