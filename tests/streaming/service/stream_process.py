"""A stream in a separate process, which a test may kill, and the counts that must match afterwards."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from lakehouse.settings import Settings
from lakehouse.sql.query import query
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Generator, Mix, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.topics import ensure_topics
from streaming.tables import TABLES
from tests.conftest import SAMPLES, copied
from tests.stream_fixtures import SHORT_LIVED, messages, wait_until, with_topics

COMMAND = [sys.executable, "-c", "from complaints import main; main()", "stream"]
PORTION = 240  # messages sent before each start


@dataclass
class Stream:
    """A stream in a separate process; its children are in the same process group."""

    settings: Settings
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return (self.settings.folder / "stream.log").read_text(encoding="utf-8", errors="replace")

    def signal_all(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def is_alive(self) -> bool:
        assert self.process.poll() is None, self.output[-3000:]
        return True


def lake_with_topics(trained_lake: Settings, folder: Path, broker: Broker) -> Settings:
    """Return a copy of the trained lake, with topics on a broker that outlives the stream."""
    settings = with_topics(copied(trained_lake, folder / "lake"), broker, "kill")
    ensure_topics(settings.kafka, broker.bootstrap_servers)
    return settings


@pytest.fixture
def streams() -> Iterator[list[Stream]]:
    """The streams that a test started; they are killed when the test ends."""
    started: list[Stream] = []
    yield started
    for stream in started:
        if stream.process.poll() is None:
            stream.signal_all(signal.SIGKILL)
            stream.process.wait()


def start(settings: Settings, *options: str) -> Stream:
    environment = {
        **os.environ,
        **SHORT_LIVED,
        "COMPLAINTS_ROOT": str(settings.folder),
        "COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS": str(settings.kafka.bootstrap_servers),
        "COMPLAINTS_KAFKA__INPUT__NAME": settings.kafka.input.name,
        "COMPLAINTS_KAFKA__PREDICTIONS__NAME": settings.kafka.predictions.name,
        "COMPLAINTS_STREAMING__MAX_ROWS_PER_BATCH": "60",
        "COMPLAINTS_STREAMING__SUMMARISE_INTERVAL_MS": "1000",
        "COMPLAINTS_STREAMING__MERGE_INTERVAL_MS": "1000",
        "COMPLAINTS_STREAMING__REVISE_INTERVAL_MS": "1000",
        "TZ": "Asia/Kathmandu",  # the host's time zone must not matter
    }
    with (settings.folder / "stream.log").open("ab") as log:
        process = subprocess.Popen(
            [*COMMAND, *options],
            cwd=SAMPLES.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Stream(settings, process)


def generator() -> Generator:
    """Return a generator of complaints that are based on real ones, with some of each defect."""
    defects = Mix(malformed=0.1, duplicates=0.1, updated=0.1)
    return Generator(
        read_rows([SAMPLES / "export-2017-snake-case.csv.gz"]),
        defects,
        seed=11,
        first_id=100_000_000,
        start=date(2024, 3, 4),
    )


def send(settings: Settings, generator: Generator) -> int:
    """Send one portion; returns the number of messages that the broker accepted."""
    producer = Producer(settings.kafka, str(settings.kafka.bootstrap_servers))
    report = producer.produce(generator, rate_per_minute=float("inf"), total=PORTION, stop=threading.Event())
    assert not report.failed
    return report.sent


def one(settings: Settings, statement: str) -> tuple[int, ...]:
    return tuple(query(settings, TABLES, statement).rows[0])


OF_KAFKA = "record_id LIKE 'kill-input/%'"
PLACES = f"""
    SELECT (SELECT count(*) FROM bronze.complaints WHERE source = 'kafka'),
           (SELECT count(*) FROM silver.complaints WHERE {OF_KAFKA}),
           (SELECT count(*) FROM silver.quarantine WHERE {OF_KAFKA}),
           (SELECT count(*) FROM silver.duplicates WHERE {OF_KAFKA}),
           (SELECT count(*) FROM silver.complaints),
           (SELECT count(*) FROM gold.current_decisions),
           (SELECT coalesce(sum(complaints), 0) FROM gold.complaints_by_minute),
           (SELECT coalesce(sum(complaints), 0) FROM gold.complaints_by_day)
"""  # noqa: S608
RECORDS = f"""
    SELECT count(*), count(DISTINCT record_id)
    FROM (SELECT record_id FROM silver.complaints
          UNION ALL SELECT record_id FROM silver.quarantine
          UNION ALL SELECT record_id FROM silver.duplicates)
    WHERE {OF_KAFKA}
"""  # noqa: S608


def is_drained(settings: Settings, sent: int) -> bool:
    """Whether at least as many rows as were sent reached gold; `counts_are_whole` finds surplus rows."""
    bronze, silver, quarantined, duplicates, all_silver, gold, minutes, days = one(settings, PLACES)
    arrived = bronze >= sent and silver + quarantined + duplicates >= sent
    return arrived and gold >= all_silver and min(minutes, days) >= gold


def settled(stream: Stream, sent: int, broker: Broker) -> None:
    """Wait until everything has been processed, stop gracefully, and check the counts."""
    settings = stream.settings
    wait_until(lambda: stream.is_alive() and is_drained(settings, sent), "the end of the backlog")
    stream.process.send_signal(signal.SIGTERM)
    assert stream.process.wait(90) == 0, stream.output[-3000:]
    counts_are_whole(settings, sent)
    predictions_are_whole(settings, broker)


def counts_are_whole(settings: Settings, sent: int) -> None:
    """Check that no row was lost or duplicated.

    Every offset is in bronze once, every bronze row is in one place, there is one decision per complaint, and the
    sums match.
    """
    offsets = one(
        settings,
        """SELECT count(*), count(DISTINCT (partition, "offset")), count(DISTINCT record_id)
           FROM bronze.complaints WHERE source = 'kafka'""",
    )
    assert offsets == (sent, sent, sent)
    gaps = one(
        settings,
        """SELECT count(*) FROM (SELECT max("offset") + 1 - count(*) AS gap FROM bronze.complaints
           WHERE source = 'kafka' GROUP BY partition) WHERE gap <> 0""",
    )
    assert gaps == (0,)
    bronze, silver, quarantined, duplicates, all_silver, gold, minutes, days = one(settings, PLACES)
    assert bronze == sent == silver + quarantined + duplicates
    assert min(silver, quarantined, duplicates) > 20
    assert gold == all_silver == minutes == days
    assert one(settings, RECORDS) == (sent, sent)
    for table in ("silver.complaints", "silver.outcomes", "gold.decisions"):
        rows, distinct = one(settings, f"SELECT count(*), count(DISTINCT complaint_id) FROM {table}")  # noqa: S608
        assert rows == distinct, table
    of_decisions = one(settings, "SELECT count(*) FILTER (escalate), round(sum(probability), 6) FROM gold.decisions")
    for table in ("gold.complaints_by_minute", "gold.complaints_by_day"):
        assert one(settings, f"SELECT sum(escalated), round(sum(probability_sum), 6) FROM {table}") == of_decisions  # noqa: S608


def predictions_are_whole(settings: Settings, broker: Broker) -> None:
    """Check that every decision is on Kafka at least once, and that all its copies are identical."""
    published: dict[int, set[bytes]] = {}
    for key, value in messages(broker, settings.kafka.predictions.name):
        published.setdefault(int(key), set()).add(value)
    decided = {row[0] for row in query(settings, TABLES, "SELECT complaint_id FROM gold.decisions").rows}
    assert set(published) == decided
    assert [key for key, values in published.items() if len(values) != 1] == []
