"""After each fault `complaints verify` finds nothing lost and nothing duplicated.

Tests that take minutes are marked `faults`. The quick ones are the full disk and the largest message.
"""

import json
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import maintenance
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS
from stewardship.verification.verify import verify
from streaming.batch.load import follow, refine
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Message, Mix
from streaming.kafka.producer import Producer
from streaming.kafka.topics import admin_client, ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.supervisor import failure
from streaming.runs.run import Plan, run
from streaming.tables import TABLES
from tests.conftest import SAMPLES, Trained, copy_of
from tests.stream_fixtures import wait_until, with_topics
from tests.streaming.service.stream_process import (
    Stream,
    generator,
    lake_with_topics,
    send,
    settled,
    start,
    streams,
)

__all__ = ["streams"]  # the fixture

DONE = Trigger(until_done=True)
FILE = SAMPLES / "export-2017-snake-case.csv.gz"
KILLS, OUTAGES = 20, 10


def counted(settings: Settings) -> dict[str, int | None]:
    """Return the count per invariant, after asserting that all of them hold."""
    found = verify(settings, lambda _: None)
    assert found.holds, found
    return {one.name: one.counted for one in found.invariants}


def has_started(stream: Stream, times: int) -> bool:
    """Whether the stream, started so many times on this lake, is streaming."""
    return stream.is_alive() and stream.output.count("Streaming from") >= times


@pytest.mark.faults
@pytest.mark.timeout(36_000)
def test_a_stream_killed_at_random_moments_loses_nothing(
    trained_lake: Settings, tmp_path: Path, streams: list[Stream]
) -> None:
    with Broker(tmp_path / "broker") as broker:
        settings = lake_with_topics(trained_lake, tmp_path, broker)
        made, dice, sent = generator(), random.Random(3), 0
        for number in range(KILLS):
            sent += send(settings, made)
            streams.append(start(settings))
            wait_until(partial(has_started, streams[-1], number + 1), "the stream's start")
            time.sleep(dice.uniform(0, 15))  # during its first batches
            streams[-1].signal_all(signal.SIGKILL)
            assert streams[-1].process.wait() == -signal.SIGKILL
        streams.append(start(settings))
        settled(streams[-1], sent, broker)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_repeated_broker_failures_lose_no_message(
    trained_lake: Settings, tmp_path: Path, streams: list[Stream]
) -> None:
    with Broker(tmp_path / "broker") as broker:
        settings = lake_with_topics(trained_lake, tmp_path, broker)
        streams.append(start(settings))
        made, dice, sent = generator(), random.Random(5), 0
        for _ in range(OUTAGES):
            sent += send(settings, made)
            time.sleep(dice.uniform(1, 10))
            broker.kill()
            time.sleep(dice.uniform(0, 3))
            broker.start()
        sent += send(settings, made)
        settled(streams[-1], sent, broker)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_one_percent_malformed_messages_do_not_stop_the_stream(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    plan = Plan(20_000, 50_000, (FILE,), Mix(malformed=0.01))
    report = run(lake.settings, plan, notify=print, on_view=lambda _: None, stop=threading.Event()).as_json()
    assert report["complete"] is True
    assert report["sent"] == report["bronze"] == 50_000
    assert 350 < report["quarantined"] < 650
    assert report["restarts"] == dict.fromkeys(report["restarts"], 0)
    assert counted(lake.settings)["messages"] == 50_000


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_minute_at_ten_times_the_rate_keeps_batches_bounded_and_is_caught_up(
    trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    most = 5_000  # low enough that a pause of one second fills a batch
    streaming = lake.settings.streaming.model_copy(update={"max_rows_per_batch": most})
    settings = lake.settings.model_copy(update={"streaming": streaming})
    plan = Plan(100_000, 100_000, (FILE,), Mix())
    report = run(settings, plan, notify=print, on_view=lambda _: None, stop=threading.Event())
    assert report.is_complete
    assert report.sent == report.counts.bronze == 100_000
    sizes = [batch.rows for batch in report.batches if batch.query == "ingest"]
    assert most / 2 < max(sizes) <= most
    assert not any(report.restarts.values())
    assert counted(settings)["messages"] == 100_000


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_continuous_upkeep_deletes_no_file_that_a_query_reads(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LEAST_FILES", 2)
    monkeypatch.setattr(maintenance, "DEAD_FILES", -100_000)  # look for files to delete in every round
    lake = copy_of(trained, tmp_path / "lake")
    streaming = lake.settings.streaming.model_copy(update={"upkeep_minutes": 0.01})
    settings = lake.settings.model_copy(update={"streaming": streaming})
    plan = Plan(6_000, 18_000, (FILE,), Mix(duplicates=0.1, updated=0.1))
    report = run(settings, plan, notify=print, on_view=lambda _: None, stop=threading.Event())
    assert report.is_complete
    assert not any(report.restarts.values())
    assert lake.delta(DECISIONS).history().where("operation = 'OPTIMIZE'").count() > 1
    assert counted(settings)["messages"] == 18_000


@pytest.fixture
def limited(lake: Lake, shared_broker: Broker) -> Iterator[Lake]:
    """A lake with separate topics that accept messages of at most 100,000 bytes."""
    settings = with_topics(lake.settings, shared_broker, "limited")
    smaller = settings.kafka.input.model_copy(update={"max_message_bytes": 100_000})
    kafka = settings.kafka.model_copy(update={"input": smaller})
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    yield Lake(lake.spark, settings.model_copy(update={"kafka": kafka}))
    with admin_client(kafka, shared_broker.bootstrap_servers) as admin:
        admin.delete_topics([kafka.input.name, kafka.predictions.name])


def ingest(lake: Lake) -> StreamingQuery:
    kafka = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
    return Queries(lake).ingest(kafka, DONE)


def complaint(number: int, narrative: str) -> bytes:
    cells = {"complaint_id": str(number), "date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble"}
    return json.dumps({**cells, "company": "ACME", "complaint_what_happened": narrative}).encode()


def produce(settings: Settings, messages: list[Message]) -> tuple[int, dict[str, int]]:
    producer = Producer(settings.kafka, str(settings.kafka.bootstrap_servers))
    report = producer.produce(messages, rate_per_minute=float("inf"), total=len(messages), stop=threading.Event())
    return report.sent, dict(report.failed)


def test_the_largest_message_arrives_and_a_larger_one_is_reported_alone(limited: Lake) -> None:
    random_text = "".join(random.Random(1).choices("abcdefghij klmnop", k=99_000))
    largest, over = complaint(1, random_text), complaint(2, random_text * 3)
    messages = [Message(b"%d" % n, value, "new") for n, value in enumerate((largest, over, complaint(3, "Short.")))]
    assert produce(limited.settings, messages) == (2, {"MessageSizeTooLargeError": 1})
    limited.create(TABLES)
    follow(ingest(limited), lambda _: None)
    refine(limited, lambda _: None)
    assert {bytes(row.payload, "utf-8") for row in limited.read(BRONZE).collect()} == {largest, complaint(3, "Short.")}
    found = counted(limited.settings)
    assert (found["messages"], found["places"], found["complaints"]) == (2, 2, 2)
    assert limited.read(COMPLAINTS).where("complaint_id = 1").first()["narrative"] == random_text  # type: ignore[index]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes; skipped where the host does not allow mounting one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    error = "no mount" if mount is None else ""
    if mount is not None:
        mounted = subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True, check=False
        )
        error = mounted.stderr
    if mount is None or umount is None or error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    yield place
    subprocess.run([umount, "-l", str(place)], check=False)


def test_a_full_disk_fails_the_query_and_with_space_again_every_offset_is_stored_once(
    spark: SparkSession, limited: Lake, small_disk: Path
) -> None:
    own = load_settings(root=small_disk / "lake").model_copy(update={"kafka": limited.settings.kafka})
    lake = Lake(spark, own)
    lake.create(TABLES)
    text = random.Random(2)
    values = [complaint(n, "".join(text.choices("abcdefghij klmnop", k=20_000))) for n in range(1, 41)]
    assert produce(own, [Message(b"%d" % n, value, "new") for n, value in enumerate(values)]) == (40, {})
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 100_000))
    query = ingest(lake)
    with pytest.raises(ComplaintsError, match=r"The ingest query failed: .*No space left on device"):
        follow(query, lambda _: None)
    assert "No space left on device" in failure(query)
    assert lake.read(BRONZE).count() == 0

    filler.unlink()
    follow(ingest(lake), lambda _: None)
    refine(lake, lambda _: None)
    found = counted(own)
    assert (found["messages"], found["places"], found["complaints"]) == (40, 40, 40)
