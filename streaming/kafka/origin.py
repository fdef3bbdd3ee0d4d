"""Which cluster and which topic the messages come from: without them an offset says nothing.

A checkpoint knows offsets alone. So the checkpoint of the ingesting query notes whose they are, and that of another
cluster, or of a topic that was made again under its name, is set aside: each origin is read from where it was left, a
new one from its beginning. The rows of the first origin that a lake reads have plain ids, those of others a part more.
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

NOTE = "origin.json"  # in a checkpoint: whose offsets it has
FIRST = "first-origin.json"  # beside the checkpoints: whose rows have plain ids
OTHERS = "other-origins"  # beside them: the checkpoints of origins that are not read now
DIGITS = 8
PLAIN = r"^[^/]+/[0-9]+/[0-9]+$"
EARLIER = "of an earlier version of this project"


@dataclass(frozen=True)
class Origin:
    """One incarnation of a topic.

    Attributes:
        topic: its name.
        cluster: Kafka's id of the cluster.
        topic_id: Kafka's id of the topic; of zeros where brokers give none.
    """

    topic: str
    cluster: str
    topic_id: str

    @property
    def digest(self) -> str:
        """A few digits that tell it from every other."""
        return hashlib.sha256(f"{self.cluster}/{self.topic_id}/{self.topic}".encode()).hexdigest()[:DIGITS]

    def __str__(self) -> str:
        """How people are told of it."""
        return f"{self.topic} (cluster {self.cluster}, topic id {self.topic_id})"


@dataclass(frozen=True)
class Resumed:
    """What was done for an origin to be read.

    Attributes:
        origin: that is read.
        incarnation: the part of its rows' ids that tells them from those of the first origin; empty for that one.
        told: a sentence when another origin was read before; otherwise None.
    """

    origin: Origin
    incarnation: str
    told: str | None


def origin_of(kafka: KafkaSettings, bootstrap_servers: str) -> Origin:
    """Where the messages come from that these brokers have of the input topic.

    Raises:
        ComplaintsError: the brokers can't be reached, or have no such topic.
    """
    topic = kafka.input.name
    with admin_client(kafka, bootstrap_servers) as admin:
        topic_id = topic_id_of(admin, topic)
        if topic_id is None:
            msg = f"There is no topic {topic} at {bootstrap_servers}: `complaints topics create` makes it."
            raise ComplaintsError(msg)
        return Origin(topic, str(admin.describe_cluster()["cluster_id"]), topic_id)


def topic_id_of(admin: KafkaAdminClient, topic: str) -> str | None:
    """Kafka's id of a topic, which another one of its name doesn't have; None when there is no such topic."""
    (described,) = admin.describe_topics([topic])
    return None if described["error_code"] else str(described["topic_id"])


def noted(checkpoint: Path) -> Origin | None:
    """Whose offsets a checkpoint has; None when it doesn't say."""
    return _read(checkpoint / NOTE)


def resume_topic(lake: Lake, bootstrap_servers: str) -> Resumed:
    """Put the checkpoint of the messages' origin in the ingesting query's place, or none when it was never read.

    Killed at any point it is done by the next start. A lake that an earlier version made has no notes: whether its rows
    are of this origin is told by comparing some of them with the messages.

    Raises:
        ComplaintsError: the brokers can't be reached, or have no such topic.
    """
    origin = origin_of(lake.settings.kafka, bootstrap_servers)
    current = Path(lake.checkpoint("ingest"))
    first = _read(current.parent / FIRST)
    if first is None:
        first = origin if _has_rows_of(lake, origin, bootstrap_servers) else Origin(origin.topic, EARLIER, "unknown")
        _write(current.parent / FIRST, first)
    before = (noted(current) or first) if current.is_dir() else origin
    if before != origin:
        _set_aside(current, before)
    kept = current.parent / OTHERS / f"ingest-{origin.digest}"
    if not current.is_dir() and kept.is_dir():
        kept.rename(current)
    told = None
    if before != origin:
        told = (
            f"Reading {origin} from {'where it was left' if current.is_dir() else 'its beginning'}. The stream read "
            f"{before} before; its checkpoint is kept, and goes on when that is read again."
        )
    _write(current / NOTE, origin)
    return Resumed(origin, "" if origin == first else origin.digest, told)


def _set_aside(checkpoint: Path, of: Origin) -> None:
    place = checkpoint.parent / OTHERS / f"ingest-{of.digest}"
    shutil.rmtree(place, ignore_errors=True)  # an older one of the same origin: what is read twice adds nothing
    place.parent.mkdir(exist_ok=True)
    checkpoint.rename(place)


def _has_rows_of(lake: Lake, origin: Origin, bootstrap_servers: str) -> bool:
    """Whether the rows with plain ids, if there are any, are the origin's messages as far as it still has them."""
    last = F.max(F.struct("offset", F.unix_millis("kafka_timestamp").alias("at"))).alias("last")
    plain = (F.col("topic") == origin.topic) & F.col("record_id").rlike(PLAIN)
    rows = lake.read(COMPLAINTS).where(plain).groupBy("partition").agg(last).collect()  # bounded: one a partition
    if not rows:
        return True
    with consumer_of(lake.settings.kafka, bootstrap_servers) as consumer:
        return all(_is_message(consumer, origin.topic, row) for row in rows)


def _is_message(consumer: KafkaConsumer, topic: str, row: Row) -> bool:
    """Whether the row's message is there, or was dropped, which can't be told from another's that was."""
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


def _read(path: Path) -> Origin | None:
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is damaged: move {path.parent} away, then all that Kafka has is read and what is missing added."
        raise ComplaintsError(msg) from error


def _write(path: Path, origin: Origin) -> None:
    """Note an origin, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(origin)), encoding="utf-8")
    draft.replace(path)
