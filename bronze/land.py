"""Transform Kafka messages and file records into rows of bronze.complaints.

Reads the Kafka source's columns or staged file records. Writes nothing. Grain: one message or one row of a file.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS
from lakehouse.step import Step

SYNTHETIC_HEADER = "synthetic"  # of a Kafka message that the load generator made
DIGEST_SHOWN = 16  # digits of a file's digest at the start of its rows' ids
FROM_FILE = rf"^([0-9a-f]{{{DIGEST_SHOWN}}}):.*:\d+$"  # the id of a row of a file, with the digest as its group


def landed_from_kafka(messages: DataFrame, incarnation: str = "") -> DataFrame:
    """Transform Kafka rows into rows of bronze.complaints, without `ingested_at`.

    A value that is not UTF-8 is stored as bytes, since text would lose data. The timestamp is added where the batch is
    written (`lakehouse.spark.per_batch`).

    Args:
        messages: rows of the Kafka source: value, topic, partition, offset, timestamp, headers.
        incarnation: distinguishes the topic from an earlier one of the same name, as the last part of a row's id; empty
            for the first topic that a lake read (`streaming.kafka.origin`).
    """
    coordinates = ("topic", "partition", "offset")
    text = F.decode("value", "UTF-8")
    is_text = F.encode(text, "UTF-8") == F.col("value")
    return _as_bronze(
        messages,
        record_id=F.concat_ws("/", *coordinates, *([F.lit(incarnation)] if incarnation else [])),
        payload=F.when(is_text, text),
        payload_bytes=F.when(~is_text, F.col("value")),
        source=F.lit("kafka"),
        topic=F.col("topic"),
        partition=F.col("partition"),
        offset=F.col("offset"),
        kafka_timestamp=F.col("timestamp"),
        is_synthetic=F.when(F.array_contains("headers.key", SYNTHETIC_HEADER), F.lit(col=True)),
    ).drop("ingested_at")


def landing_from(incarnation: str) -> Step:
    """Return the step `landed_from_kafka` for one incarnation of the topic."""
    return lambda messages: landed_from_kafka(messages, incarnation)


def not_landed_before(rows: DataFrame, landed: DataFrame, erased: DataFrame) -> DataFrame:
    """Drop Kafka rows whose messages were landed in bronze before.

    Args:
        rows: rows from `landed_from_kafka`.
        landed: rows of bronze.complaints with the same topic, partitions and offsets, of any incarnation.
        erased: rows of bronze.erasures.

    Returns:
        The rows whose id is in neither, and whose message was not landed under the id of another incarnation: if a
        topic is recreated while it is read, its first messages are landed under the previous incarnation.
    """
    message = ("partition", "offset", "kafka_timestamp")
    existing = landed.select(*message, F.struct("payload", "payload_bytes").alias("content"))
    new = rows.join(landed, "record_id", "left_anti").join(erased, "record_id", "left_anti")
    new = new.withColumn("content", F.struct("payload", "payload_bytes"))
    same = [new[name] == existing[name] for name in message]
    return new.join(existing, [*same, new["content"].eqNullSafe(existing["content"])], "left_anti").drop("content")


def landed_from_files(staged: DataFrame) -> DataFrame:
    """Transform staged file records (the columns of `bronze.load`) into rows of bronze.complaints."""
    return _as_bronze(
        staged,
        record_id=F.concat_ws(":", F.substring("sha256", 1, DIGEST_SHOWN), "file", "number"),
        payload=F.col("payload"),
        payload_bytes=F.col("payload_bytes"),
        source=F.col("source"),
        offset=F.col("number"),
        file=F.col("file"),
        line=F.col("line"),
    )


def landed_from_quarantine(corrected: DataFrame) -> DataFrame:
    """Transform quarantined rows for replay into new rows of bronze.complaints.

    Args:
        corrected: record_id, payload, payload_bytes, first_arrived_at and is_synthetic.
    """
    return _as_bronze(
        corrected,
        record_id=F.concat_ws("@", "record_id", F.date_format(F.current_timestamp(), "yyyyMMddHHmmssSSS")),
        payload=F.col("payload"),
        payload_bytes=F.col("payload_bytes"),
        source=F.lit("replay"),
        replay_of=F.col("record_id"),
        first_arrived_at=F.col("first_arrived_at"),
        is_synthetic=F.col("is_synthetic"),
    )


def _as_bronze(rows: DataFrame, **values: Column) -> DataFrame:
    values["ingested_at"] = F.current_timestamp()
    return rows.select(*(values.get(c.name, F.lit(None)).cast(c.type).alias(c.name) for c in COMPLAINTS.columns))
