"""The cluster and topic that messages come from; offsets are meaningless without them.

A checkpoint stores only offsets. So the checkpoint of the ingest query also records its origin, and a checkpoint of
another cluster or of a recreated topic is set aside: a known origin resumes where it stopped, a new one starts at its
beginning. Rows of the first origin that a lake reads have plain ids; rows of other origins have one more part.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from pyspark.sql import Row
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings
from lakehouse.tables.lake import Lake
from streaming.kafka.topics import admin_client, consumer_of

NOTE = "origin.json"  # in a checkpoint: the origin of its offsets
FIRST = "first-origin.json"  # next to the checkpoints: the origin whose rows have plain ids
OTHERS = "other-origins"  # next to the checkpoints: those of origins that are not read now
DIGITS = 8
PLAIN = r"^[^/]+/[0-9]+/[0-9]+$"
EARLIER = "of an earlier version of this project"


@dataclass(frozen=True)
class Origin:
    """One incarnation of a topic.

    Attributes:
        topic: its name.
        cluster: Kafka's id of the cluster.
        topic_id: Kafka's id of the topic; all zeros if the brokers have none.
    """

    topic: str
    cluster: str
    topic_id: str

    @property
    def digest(self) -> str:
        """Short digest that identifies the origin."""
        return hashlib.sha256(f"{self.cluster}/{self.topic_id}/{self.topic}".encode()).hexdigest()[:DIGITS]

    def __str__(self) -> str:
        """Return the description used in messages."""
        return f"{self.topic} (cluster {self.cluster}, topic id {self.topic_id})"


@dataclass(frozen=True)
class Resumed:
    """Result of resuming an origin.

    Attributes:
        origin: the origin that is read.
        incarnation: part of its row ids that distinguishes them from the first origin; empty for the first.
        told: a sentence if another origin was read before, otherwise None.
    """

    origin: Origin
    incarnation: str
    told: str | None


def origin_of(kafka: KafkaSettings, bootstrap_servers: str) -> Origin:
    """Return the origin of the input topic at these brokers.

    Raises:
        ComplaintsError: the brokers can't be reached, or the topic doesn't exist.
    """
    topic = kafka.input.name
    with admin_client(kafka, bootstrap_servers) as admin:
        topic_id = topic_id_of(admin, topic)
        if topic_id is None:
            msg = f"There is no topic {topic} at {bootstrap_servers}: `complaints topics create` creates it."
            raise ComplaintsError(msg)
        return Origin(topic, str(admin.describe_cluster()["cluster_id"]), topic_id)


def topic_id_of(admin: KafkaAdminClient, topic: str) -> str | None:
    """Return Kafka's id of a topic, which changes when it is recreated; None if the topic doesn't exist."""
    (described,) = admin.describe_topics([topic])
    return None if described["error_code"] else str(described["topic_id"])


def noted(checkpoint: Path) -> Origin | None:
    """Return the origin recorded in a checkpoint, or None."""
    return _read_origin(checkpoint / NOTE)


def resume_topic(lake: Lake, bootstrap_servers: str) -> Resumed:
    """Move the current origin's checkpoint, if any, into place for the ingest query.

    If this is interrupted, the next start completes it. A lake from an earlier version has no recorded origin: some of
    its rows are compared with the messages to find out whether they match.

    Raises:
        ComplaintsError: the brokers can't be reached, or the topic doesn't exist.
    """
    origin = origin_of(lake.settings.kafka, bootstrap_servers)
    current = Path(lake.checkpoint("ingest"))
    first = _read_origin(current.parent / FIRST)
    if first is None:
        first = origin if _has_rows_of(lake, origin, bootstrap_servers) else Origin(origin.topic, EARLIER, "unknown")
        _write_origin(current.parent / FIRST, first)
    before = (noted(current) or first) if current.is_dir() else origin
    if before != origin:
        _set_aside(current, before)
    stored = current.parent / OTHERS / f"ingest-{origin.digest}"
    if not current.is_dir() and stored.is_dir():
        stored.rename(current)
    told = None
    if before != origin:
        told = (
            f"Reading {origin} from {'where it stopped' if current.is_dir() else 'its beginning'}. The stream read "
            f"{before} before; its checkpoint is kept, and resumes when that one is read again."
        )
    _write_origin(current / NOTE, origin)
    return Resumed(origin, "" if origin == first else origin.digest, told)


def _set_aside(checkpoint: Path, of: Origin) -> None:
    place = checkpoint.parent / OTHERS / f"ingest-{of.digest}"
    shutil.rmtree(place, ignore_errors=True)  # an older one of the same origin; rereading rows adds nothing
    place.parent.mkdir(exist_ok=True)
    checkpoint.rename(place)


def _has_rows_of(lake: Lake, origin: Origin, bootstrap_servers: str) -> bool:
    """Whether the rows with plain ids, if any, match the messages that the origin still has."""
    last = F.max(F.struct("offset", F.unix_millis("kafka_timestamp").alias("at"))).alias("last")
    plain = (F.col("topic") == origin.topic) & F.col("record_id").rlike(PLAIN)
    rows = lake.read(COMPLAINTS).where(plain).groupBy("partition").agg(last).collect()  # bounded: one per partition
    if not rows:
        return True
    with consumer_of(lake.settings.kafka, bootstrap_servers) as consumer:
        return all(_is_message(consumer, origin.topic, row) for row in rows)


def _is_message(consumer: KafkaConsumer, topic: str, row: Row) -> bool:
    """Whether the row's message exists or was dropped; a dropped one can't be compared."""
    position, offset = TopicPartition(topic, row.partition), row.last.offset
    if row.partition not in (consumer.partitions_for_topic(topic) or ()):
        return False
    begin, end = consumer.beginning_offsets([position])[position], consumer.end_offsets([position])[position]
    if not begin <= offset < end:
        return bool(offset < begin)
    consumer.assign([position])
    consumer.seek(position, offset)
    message = next(iter(consumer), None)
    return message is None or message.offset != offset or message.timestamp == row.last.at


def _read_origin(path: Path) -> Origin | None:
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is damaged: move {path.parent} away; then Kafka is read again and missing rows are added."
        raise ComplaintsError(msg) from error


def _write_origin(path: Path, origin: Origin) -> None:
    """Write an origin atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(origin)), encoding="utf-8")
    draft.replace(path)
