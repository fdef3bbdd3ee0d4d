"""A query that can't resume is refused with a message that says what to do, and nothing is changed.

The checkpoints are real: the ingest query reads a separate topic from a real broker, in two batches.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables.lake import Lake, writer_lock
from ml.registry.registry import Registry
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.origin import FIRST, NOTE
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.queries.checkpoints import check_checkpoint, dropped_messages
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.supervisor import Gate, Supervisor
from streaming.service.live import LiveStream
from tests.stream_fixtures import wait_until, with_topics

DONE = Trigger(until_done=True)
SENT = 10  # to each of two partitions, for each of two batches


def send(settings: Settings, count: int) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for number in range(2 * count):
        producer.send(settings.kafka.input.name, b"a complaint", partition=number % 2)
    producer.flush()
    producer.close()


def ingesting(lake: Lake, trigger: Trigger = DONE) -> StreamingQuery:
    kafka = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
    return Queries(lake).ingest(kafka, trigger)


def ingested(lake: Lake) -> tuple[int, int]:
    """Return the numbers of bronze rows and of distinct record ids."""
    rows = lake.read(BRONZE)
    return rows.count(), rows.select("record_id").distinct().count()


@pytest.fixture(scope="module")
def stopped(spark: SparkSession, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A lake whose ingest query was stopped after two batches."""
    settings = with_topics(load_settings(root=tmp_path_factory.mktemp("stopped")), shared_broker, "stopped")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    lake = Lake(spark, settings)
    lake.create([BRONZE, ERASURES])
    for _ in range(2):
        send(settings, SENT)
        follow(ingesting(lake), lambda _: None)
    assert ingested(lake) == (4 * SENT, 4 * SENT)
    yield settings
    with admin_client(settings.kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([settings.kafka.input.name, settings.kafka.predictions.name])


@pytest.fixture
def lake(stopped: Settings, spark: SparkSession, tmp_path: Path) -> Lake:
    """A copy of that lake, to be damaged."""
    shutil.copytree(stopped.folder, tmp_path / "lake")
    own = load_settings(root=tmp_path / "lake")
    return Lake(spark, own.model_copy(update={"kafka": stopped.kafka}))


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def torn(checkpoint: Path) -> None:
    newest = checkpoint / "offsets" / "1"
    newest.write_bytes(newest.read_bytes()[:-9])


def emptied(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "1").write_bytes(b"")


def without_its_id(checkpoint: Path) -> None:
    (checkpoint / "metadata").unlink()


def without_commits(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "commits")


def without_offsets(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "1").unlink()
    (checkpoint / "offsets" / "0").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (torn, r"The checkpoint of the ingest query is damaged: .*/offsets/1 is missing or incomplete\. Restore"),
        (emptied, r"The checkpoint of the ingest query is damaged: .*/offsets/1 is missing or incomplete\. Restore"),
        (without_its_id, r"The checkpoint of the ingest query is damaged: .*/metadata is missing or incomplete\. Re"),
        (without_commits, r"The checkpoint of the ingest query is missing .*/commits/0\. Restore the last copy"),
        (without_offsets, r"The checkpoint of the ingest query is missing .*/offsets/1\. Restore the last copy"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_the_file_named_and_not_changed(
    lake: Lake, damage: Callable[[Path], None], message: str
) -> None:
    damage(Path(lake.checkpoint("ingest")))
    before = content(lake.settings.folder)
    with pytest.raises(ComplaintsError, match=message):
        ingesting(lake)
    assert content(lake.settings.folder) == before


def test_an_unfinished_batch_is_not_damage(lake: Lake) -> None:
    (Path(lake.checkpoint("ingest")) / "commits" / "1").unlink()
    follow(ingesting(lake), lambda _: None)
    assert ingested(lake) == (4 * SENT, 4 * SENT)


def test_a_checkpoint_of_another_topic_without_a_note_is_refused(lake: Lake) -> None:
    kafka = lake.settings.kafka
    other = kafka.model_copy(update={"input": kafka.input.model_copy(update={"name": kafka.predictions.name})})
    elsewhere = Lake(lake.spark, lake.settings.model_copy(update={"kafka": other}))
    checkpoint = Path(lake.checkpoint("ingest"))
    (checkpoint / NOTE).unlink()
    (checkpoint.parent / FIRST).unlink()
    with pytest.raises(
        ComplaintsError, match=r"the topic stopped-input, but kafka\.input\.name is stopped-predictions"
    ):
        ingesting(elsewhere)


def test_the_checkpoint_of_a_table_that_was_replaced_is_refused(lake: Lake) -> None:
    lake.create([DECISIONS])
    query = Path(lake.checkpoint("summarise"))
    row = {"complaint_id": 1, "probability": 0.5, "scored_with": "text", "urgency": "low", "escalate": False}
    row |= {"team": "t", "recommended_action": "a", "model_name": "m", "model_version": "1", "record_id": "r"}
    lake.append(lake.frame([row], DECISIONS), DECISIONS, "test:0")
    stream = lake.read_stream(DECISIONS).writeStream.option("checkpointLocation", str(query)).queryName("summarise")
    follow(DONE.applied(stream.foreachBatch(lambda _, __: None)).start(), lambda _: None)
    check_checkpoint(lake, "summarise")
    shutil.rmtree(lake.path(DECISIONS))
    lake.create([DECISIONS])
    with pytest.raises(ComplaintsError, match=r"reads a different gold\.decisions from the one in the lake"):
        Queries(lake).summarise(DONE)


def drop(lake: Lake, partition: int, offset: int) -> None:
    """Have Kafka drop all messages before an offset, as its retention does."""
    kafka = lake.settings.kafka
    with admin_client(kafka, str(kafka.bootstrap_servers)) as admin:
        admin.delete_records({TopicPartition(kafka.input.name, partition): offset})


@pytest.fixture
def overtaken(lake: Lake, shared_broker: Broker, spark: SparkSession) -> Iterator[Lake]:
    """A lake with a separate topic, of which Kafka dropped seven unread messages."""
    settings = with_topics(lake.settings, shared_broker, "overtaken")
    own = Lake(spark, load_settings(root=lake.settings.folder / "own").model_copy(update={"kafka": settings.kafka}))
    settings = own.settings
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    own.create([BRONZE, ERASURES])
    send(settings, SENT)
    follow(ingesting(own), lambda _: None)
    send(settings, SENT)
    drop(own, 1, SENT + 7)
    yield own
    with suppress(ComplaintsError), admin_client(settings.kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([settings.kafka.input.name])


def test_unread_messages_dropped_by_kafka_are_counted_and_skipped_only_if_that_is_accepted(
    overtaken: Lake,
) -> None:
    settings = overtaken.settings
    servers = str(settings.kafka.bootstrap_servers)
    dropped = r"Kafka has dropped 7 messages of overtaken-input that were never read \(partition 1\)"
    with pytest.raises(ComplaintsError, match=dropped + r".* Set COMPLAINTS_STREAMING__ACCEPT_DATA_LOSS=true"):
        dropped_messages(settings, servers)
    with pytest.raises(ComplaintsError, match=r"The ingest query failed: .*(out of range|some data may)"):
        follow(ingesting(overtaken), lambda _: None)
    assert ingested(overtaken) == (2 * SENT, 2 * SENT), "no later message was read past the gap"

    streaming = settings.streaming.model_copy(update={"accept_data_loss": True})
    accepting = Lake(overtaken.spark, settings.model_copy(update={"streaming": streaming}))
    assert str(dropped_messages(accepting.settings, servers)).startswith("Kafka has dropped 7 messages")
    follow(ingesting(accepting), lambda _: None)
    assert ingested(accepting) == (4 * SENT - 7, 4 * SENT - 7)
    assert dropped_messages(settings, servers) is None


def test_a_stream_whose_unread_messages_are_dropped_ends_with_the_count(overtaken: Lake) -> None:
    settings = overtaken.settings
    servers = str(settings.kafka.bootstrap_servers)

    def start() -> StreamingQuery:
        if notices:  # as the live stream does at each restart
            dropped_messages(settings, servers)
        return ingesting(overtaken, Trigger(interval_ms=100))

    notices: list[str] = []
    supervisor = Supervisor(settings.streaming.model_copy(update={"backoff_seconds": 0.1}), Gate(), notices.append)
    supervisor.start({"ingest": start})
    with pytest.raises(ComplaintsError, match="Kafka has dropped 7 messages"):
        wait_until(lambda: supervisor.check(), "the end of the stream")  # noqa: PLW0108 - it returns None
    assert len(notices) == 1
    assert ingested(overtaken) == (2 * SENT, 2 * SENT)


def test_a_topic_that_ends_before_the_read_offset_is_refused(lake: Lake) -> None:
    newest = Path(lake.checkpoint("ingest")) / "offsets" / "1"
    newest.write_text(
        newest.read_text(encoding="utf-8").replace(f'"0":{2 * SENT}', f'"0":{9 * SENT}'), encoding="utf-8"
    )
    with pytest.raises(ComplaintsError, match="The topic stopped-input ends before the offset 90 up to which it was"):
        dropped_messages(lake.settings, str(lake.settings.kafka.bootstrap_servers))


def test_the_error_names_a_missing_topic(lake: Lake) -> None:
    kafka = lake.settings.kafka
    gone = kafka.model_copy(update={"input": kafka.input.model_copy(update={"name": "nowhere"})})
    elsewhere = Lake(lake.spark, lake.settings.model_copy(update={"kafka": gone}))
    with pytest.raises(
        ComplaintsError, match=r"There is no topic nowhere at .*: `complaints topics create` creates it"
    ):
        ingesting(elsewhere)


def test_a_second_stream_on_the_lake_is_refused_before_it_starts_anything(lake: Lake) -> None:
    before = content(lake.settings.folder / "checkpoints")
    with writer_lock(lake.settings), pytest.raises(ComplaintsError, match="Another process is writing the lake"):
        LiveStream(lake.settings, lambda _: None).__enter__()
    assert content(lake.settings.folder / "checkpoints") == before


def test_without_a_registry_no_stream_starts_and_the_lock_is_released(lake: Lake) -> None:
    with pytest.raises(ComplaintsError, match="run `complaints train` first"):
        LiveStream(lake.settings, lambda _: None).__enter__()
    with writer_lock(lake.settings):
        assert Registry(lake.settings)
