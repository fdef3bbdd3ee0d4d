"""Offsets belong to one topic on one cluster: another is read from its beginning, with no collision."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kafka import KafkaProducer
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from lakehouse.errors import ComplaintsError
from lakehouse.tables.lake import Lake
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.consumer_group import GroupCommitter
from streaming.kafka.origin import FIRST, NOTE, OTHERS, Origin, origin_of, resume_topic
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from tests.stream_fixtures import wait_until, with_topics

DONE = Trigger(until_done=True)
SENT = 10


@pytest.fixture
def streamed(lake: Lake, shared_broker: Broker, request: pytest.FixtureRequest) -> Iterator[Lake]:
    """A lake that has read ten messages from each of the two partitions of its own topic."""
    name = f"origin-{abs(hash(request.node.name)) % 10**8}"
    own = Lake(lake.spark, with_topics(lake.settings, shared_broker, name))
    ensure_topics(own.settings.kafka, shared_broker.bootstrap_servers)
    own.create([BRONZE, ERASURES])
    send(own, SENT, "first")
    ingest(own)
    yield own
    kafka = own.settings.kafka
    with suppress(ComplaintsError), admin_client(kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([kafka.input.name, kafka.predictions.name])


def servers(lake: Lake) -> str:
    return str(lake.settings.kafka.bootstrap_servers)


def send(lake: Lake, count: int, text: str) -> None:
    """Send `count` messages to each of two partitions."""
    producer = KafkaProducer(bootstrap_servers=servers(lake))
    for number in range(2 * count):
        producer.send(lake.settings.kafka.input.name, f"{text} {number}".encode(), partition=number % 2)
    producer.flush()
    producer.close()


def ingesting(lake: Lake, trigger: Trigger = DONE) -> StreamingQuery:
    return Queries(lake).ingest(spark_kafka_options(lake, servers(lake)), trigger)


def ingest(lake: Lake) -> None:
    follow(ingesting(lake), lambda _: None)


def landed(lake: Lake) -> dict[str, int]:
    """Count bronze rows by the first word of their payload; asserts that record ids are unique."""
    words = (  # one read: the stream may commit between two
        lake.read(BRONZE)
        .groupBy(F.split("payload", " ")[0].alias("word"))
        .agg(F.count("*").alias("count"), F.count_distinct("record_id").alias("distinct"))
        .collect()
    )
    assert all(row["count"] == row["distinct"] for row in words)
    return {row.word: row["count"] for row in words}


def recreate_topic(lake: Lake, count: int, text: str) -> None:
    """Delete the topic and create it again, with other messages."""
    kafka = lake.settings.kafka
    with admin_client(kafka, servers(lake)) as admin:
        before = origin_of(kafka, servers(lake))
        admin.delete_topics([kafka.input.name])
        wait_until(lambda: kafka.input.name not in admin.list_topics(), "the topic's deletion")
    ensure_topics(kafka, servers(lake))
    assert origin_of(kafka, servers(lake)).topic_id != before.topic_id
    send(lake, count, text)


def without_notes(lake: Lake) -> None:
    """Remove the notes, which lakes of earlier versions of the project do not have."""
    checkpoint = Path(lake.checkpoint("ingest"))
    (checkpoint / NOTE).unlink()
    (checkpoint.parent / FIRST).unlink()


def of_another_cluster(lake: Lake) -> None:
    """Change the notes as if the messages had been read from another cluster."""
    checkpoint = Path(lake.checkpoint("ingest"))
    other = json.dumps({"topic": lake.settings.kafka.input.name, "cluster": "elsewhere", "topic_id": "another"})
    for note in (checkpoint / NOTE, checkpoint.parent / FIRST):
        note.write_text(other, encoding="utf-8")


@pytest.mark.parametrize("later", [SENT // 2, 3 * SENT], ids=["shorter", "longer"])
def test_a_recreated_topic_is_read_from_its_beginning(streamed: Lake, later: int) -> None:
    recreate_topic(streamed, later, "second")
    notice = resume_topic(streamed, servers(streamed)).told
    assert notice is not None
    assert "from its beginning. The stream read" in notice
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "second": 2 * later}
    send(streamed, 1, "third")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "second": 2 * later, "third": 2}


def test_another_cluster_is_read_from_its_beginning_and_the_first_resumes_where_it_stopped(streamed: Lake) -> None:
    here = origin_of(streamed.settings.kafka, servers(streamed))
    of_another_cluster(streamed)
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT}, "bronze already has these messages"
    send(streamed, SENT, "here")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "here": 2 * SENT}
    others = Path(streamed.checkpoint("ingest")).parent / OTHERS
    elsewhere = Origin(here.topic, "elsewhere", "another")
    assert [folder.name for folder in others.iterdir()] == [f"ingest-{elsewhere.digest}"]
    ids = streamed.read(BRONZE).where("payload LIKE 'here%'").select("record_id").collect()
    assert all(row.record_id.startswith(f"{here.topic}/") and row.record_id.endswith(here.digest) for row in ids)


def test_a_lake_of_an_earlier_version_resumes_its_own_topic_only(streamed: Lake) -> None:
    without_notes(streamed)
    send(streamed, 1, "more")
    assert resume_topic(streamed, servers(streamed)).told is None
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "more": 2}
    plain = streamed.read(BRONZE).where(F.size(F.split("record_id", "/")) == 3)
    assert plain.count() == 2 * SENT + 2, "its ids keep their format"
    without_notes(streamed)
    recreate_topic(streamed, 2 * SENT, "second")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "more": 2, "second": 4 * SENT}


def test_a_checkpoint_that_was_moved_away_adds_nothing_and_loses_nothing(streamed: Lake) -> None:
    checkpoint = Path(streamed.checkpoint("ingest"))
    send(streamed, 2, "unread")
    shutil.rmtree(checkpoint)
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "unread": 4}
    shutil.rmtree(checkpoint.parent)  # including the notes next to it
    send(streamed, 1, "more")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "unread": 4, "more": 2}


def test_restoring_an_older_checkpoint_adds_nothing(streamed: Lake, tmp_path: Path) -> None:
    checkpoint = Path(streamed.checkpoint("ingest"))
    shutil.copytree(checkpoint, tmp_path / "older")
    for text in ("second", "third"):
        send(streamed, 1, text)
        ingest(streamed)
    shutil.rmtree(checkpoint)
    shutil.copytree(tmp_path / "older", checkpoint)
    send(streamed, 1, "fourth")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "second": 2, "third": 2, "fourth": 2}


def test_an_erased_message_does_not_come_back_without_its_checkpoint(streamed: Lake) -> None:
    last = f"{streamed.settings.kafka.input.name}/0/{SENT - 1}"
    row = {"record_id": last, "complaint_id": 1, "destination": "silver", "asked_at": "2024-03-04T00:00:00"}
    streamed.append(streamed.frame([row], ERASURES), ERASURES, "erase:1")
    streamed.spark.sql(f"ALTER TABLE {streamed.identifier(BRONZE)} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    streamed.delta(BRONZE).delete(F.col("record_id") == last)
    shutil.rmtree(streamed.checkpoint("ingest"))
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT - 1}


def test_recreating_a_topic_while_it_is_read_loses_nothing(streamed: Lake) -> None:
    query = ingesting(streamed, Trigger(interval_ms=6_000))
    with GroupCommitter(streamed.settings.kafka, servers(streamed)) as committer:
        committer.watch(origin_of(streamed.settings.kafka, servers(streamed)))
        send(streamed, 1, "more")
        wait_until(lambda: landed(streamed).get("more") == 2, "the messages")
        recreate_topic(streamed, 3 * SENT, "second")
        wait_until(lambda: not query.isActive or "second" in landed(streamed), "a batch of the new topic")
        progress = query.lastProgress
        assert progress is not None
        committer.take(progress)
        wait_until(committer.is_made_again, "the detection of the new topic")
    query.stop()
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "more": 2, "second": 6 * SENT}


def test_messages_of_an_aborted_transaction_are_not_read(streamed: Lake) -> None:
    producer = KafkaProducer(bootstrap_servers=servers(streamed), transactional_id=f"{streamed.settings.folder}")
    producer.init_transactions()
    for text, end in (("kept", producer.commit_transaction), ("gone", producer.abort_transaction)):
        producer.begin_transaction()
        for partition in (0, 1):
            producer.send(streamed.settings.kafka.input.name, text.encode(), partition=partition)
        producer.flush()
        end()
    producer.close()
    send(streamed, 1, "later")
    ingest(streamed)
    assert landed(streamed) == {"first": 2 * SENT, "kept": 2, "later": 2}
