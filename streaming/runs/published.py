"""What a run's decisions are on Kafka: read back, each complaint once, with how long it took to get there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming.runs.report import Span

_NEEDED = "record_id string, kafka_timestamp timestamp"


@dataclass(frozen=True)
class Stretch:
    """Messages of a topic, those from `begin` on and before `end`, both by partition; a partition begins at 0."""

    topic: str
    begin: Mapping[int, int]
    end: Mapping[int, int]


def published(spark: SparkSession, kafka: Mapping[str, str], stretch: Stretch, span: Span) -> DataFrame:
    """How long the complaints of a run waited until their decisions were sent to Kafka.

    Args:
        spark: reads the topic, as much of it as there is by then.
        kafka: Spark's options: servers, security.
        stretch: of the predictions topic, where they are.
        span: the run.

    Returns:
        `record_id`, `kafka_timestamp` of the complaint, and `waited_ms` from it to the decision's message.
        Grain: one complaint; where its decision was published again, the first counts.
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
    # A message without a value tells that its complaint was erased: it is no decision.
    decision = F.from_json(F.col("value").cast("string"), _NEEDED)
    decided = messages.select(decision.alias("decision"), F.col("timestamp").alias("published_at"))
    ours = decided.select("decision.*", "published_at").where(span.holds())
    waited = F.unix_millis(F.min("published_at")) - F.unix_millis("kafka_timestamp")
    return ours.groupBy("record_id", "kafka_timestamp").agg(waited.alias("waited_ms"))
