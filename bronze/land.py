"""Kafka messages and file records as rows of bronze.complaints.

Reads: the Kafka source's columns, or staged file records. Writes nothing. Grain: one message or one row of a file.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS
from lakehouse.step import Step

DIGEST_SHOWN = 16  # digits of a file's digest that its rows' ids begin with
FROM_FILE = rf"^([0-9a-f]{{{DIGEST_SHOWN}}}):.*:\d+$"  # the id of a row of a file, with the digest as its group


def landed_from_kafka(messages: DataFrame, incarnation: str = "") -> DataFrame:
    """Kafka's rows (value, topic, partition, offset, timestamp) as rows of bronze.complaints, short of `ingested_at`.

    A value that is not UTF-8 keeps its bytes, since text would lose them. The time is stamped where the batch is
    written (`lakehouse.spark.per_batch`).

    Args:
        messages: Kafka's rows.
        incarnation: what tells the topic from another one of its name, as the last part of a row's id; empty for the
            first topic that a lake read (`streaming.kafka.origin`).
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
    ).drop("ingested_at")


def landing_from(incarnation: str) -> Step:
    """The step `landed_from_kafka` for messages of one incarnation of the topic."""
    return lambda messages: landed_from_kafka(messages, incarnation)


def not_landed_before(rows: DataFrame, landed: DataFrame, erased: DataFrame) -> DataFrame:
    """The landed Kafka rows whose messages bronze has never had.

    Args:
        rows: as `landed_from_kafka` gives them.
        landed: rows of bronze.complaints with the same topic, partitions and offsets, of whatever incarnation.
        erased: rows of bronze.erasures.

    Returns:
        The rows whose id is in neither, and whose message isn't there under the id of another incarnation: a topic that
        was made again while it was read gave its first messages to the one before.
    """
    message = ("partition", "offset", "kafka_timestamp")
    there = landed.select(*message, F.struct("payload", "payload_bytes").alias("content"))
    new = rows.join(landed, "record_id", "left_anti").join(erased, "record_id", "left_anti")
    new = new.withColumn("content", F.struct("payload", "payload_bytes"))
    same = [new[name] == there[name] for name in message]
    return new.join(there, [*same, new["content"].eqNullSafe(there["content"])], "left_anti").drop("content")


def landed_from_files(staged: DataFrame) -> DataFrame:
    """Staged file records (number, line, payload, payload_bytes, source, file, sha256) as rows of bronze.complaints."""
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


def landed_from_quarantine(mended: DataFrame) -> DataFrame:
    """Quarantined rows (record_id, payload, arrived_at) that go through once more, as new rows of bronze.complaints."""
    return _as_bronze(
        mended,
        record_id=F.concat_ws("@", "record_id", F.date_format(F.current_timestamp(), "yyyyMMddHHmmssSSS")),
        payload=F.col("payload"),
        source=F.lit("replay"),
        replay_of=F.col("record_id"),
        first_arrived_at=F.col("arrived_at"),
    )


def _as_bronze(rows: DataFrame, **values: Column) -> DataFrame:
    values["ingested_at"] = F.current_timestamp()
    return rows.select(*(values.get(c.name, F.lit(None)).cast(c.type).alias(c.name) for c in COMPLAINTS.columns))
