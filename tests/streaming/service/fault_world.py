"""The setting in which faults are injected: a lake, its brokers, the stream, and a producer."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import psutil
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from stewardship.verification.invariants import UNPUBLISHED
from stewardship.verification.verify import Verified, verify
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Generator, Mix, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.topics import client_config
from streaming.tables import TABLES
from tests.conftest import SAMPLES
from tests.rooms import PACKAGES
from tests.stream_fixtures import SHORT_LIVED, WAIT_SECONDS, wait_until

PROJECT = SAMPLES.parent
COPIED = (*PACKAGES, "conf", "samples")
EXIT_SECONDS = 60
STREAMS = "Streaming from"
MISSING_SHARE = 0.02  # of a full export: less than silver.most_withdrawn_share


@dataclass
class Process:
    """A `complaints` process, leader of its process group, with its own log."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    @property
    def java(self) -> psutil.Process | None:
        """The JVM that runs its Spark."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.popen.pid).children(recursive=True)
            return next((child for child in children if child.name() == "java" and is_spark(child)), None)
        return None

    def says(self, words: str) -> bool:
        """Whether it has printed this, or exited."""
        return words in self.output or self.ended

    def kill(self) -> None:
        """Kill the whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


def is_spark(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("spark" in word.lower() for word in process.cmdline())
    return False


@dataclass
class World:
    """A lake, its brokers, the stream, and a producer.

    Attributes:
        settings: settings of the lake, with the broker that it currently reads.
        spark: session for operations on the lake in this process.
        brokers: the broker that is currently read, and a second one.
        dice: random source for the choice and the parameters of faults.
        say: called with one line per fault.
    """

    settings: Settings
    spark: SparkSession
    brokers: list[Broker]
    dice: random.Random
    say: Callable[[str], None]
    stream: Process | None = None
    processes: list[Process] = field(default_factory=list)
    sent: int = 0
    unpublished: int = 0  # decisions made without a broker, which may be missing on it
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rows = read_rows([SAMPLES / "export-2017-snake-case.csv.gz"])
        mix = Mix(malformed=0.1, duplicates=0.1, updated=0.1, revised=0.1, narrated=0.05)
        seed, first = self.dice.randrange(1 << 30), 100_000_000
        self.generator = Generator(rows, mix, seed=seed, first_id=first, start=date(2024, 3, 4))
        self.own_ids = iter(range(900_000_000, 1_000_000_000))
        # A copy of the project, because faults change its rules.
        self.tree = self.settings.folder.parent / "project"
        for name in COPIED:
            shutil.copytree(PROJECT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("jars.lock", "pyproject.toml"):
            shutil.copy(PROJECT / name, self.tree / name)

    # ---- stream

    def command(self, *words: str) -> Process:
        environment = {
            **os.environ,
            "COMPLAINTS_ROOT": str(self.settings.folder),
            "COMPLAINTS_JARS": os.environ.get("COMPLAINTS_JARS", str(PROJECT / ".jars")),
            "COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS": str(self.settings.kafka.bootstrap_servers),
            "COMPLAINTS_KAFKA__INPUT__NAME": self.settings.kafka.input.name,
            "COMPLAINTS_KAFKA__PREDICTIONS__NAME": self.settings.kafka.predictions.name,
            "COMPLAINTS_STREAMING__MAX_ROWS_PER_BATCH": "500",
            "COMPLAINTS_STREAMING__INGEST_INTERVAL_MS": "300",
            "COMPLAINTS_STREAMING__SUMMARISE_INTERVAL_MS": "1000",
            "COMPLAINTS_STREAMING__MERGE_INTERVAL_MS": "1000",
            "COMPLAINTS_STREAMING__REVISE_INTERVAL_MS": "1000",
            "COMPLAINTS_STREAMING__UPKEEP_MINUTES": "1",
            **SHORT_LIVED,
            "TZ": "Asia/Kathmandu",
        }
        log = self.settings.folder.parent / f"process-{len(self.processes)}.log"
        start = [sys.executable, "-c", "from complaints import main; main()", *words]
        with log.open("wb") as output:
            popen = subprocess.Popen(
                start, cwd=self.tree, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def up(self) -> Process:
        """Return the running stream; start one if none runs, and retry while a previous one is still exiting."""
        end = time.monotonic() + WAIT_SECONDS
        stream = self.stream
        while stream is None or stream.ended:
            self.stream = stream = self.command("stream")
            wait_until(partial(stream.says, STREAMS), "the stream's start")
            waits = ("Another process", "still writes the lake")  # for the Spark of a previous stream
            refused = stream.ended and any(each in stream.output for each in waits)
            assert not stream.ended or (refused and time.monotonic() < end), stream.output[-3000:]
        return stream

    def end(self) -> None:
        """Stop the stream gracefully."""
        if self.stream is not None and not self.stream.ended:
            self.stream.popen.send_signal(signal.SIGTERM)
            assert self.stream.popen.wait(EXIT_SECONDS * 2) == 0, self.stream.output[-3000:]
        self.stream = None

    def wait_for_exit(self) -> None:
        """Wait until a damaged stream has exited, including its Spark."""
        assert self.stream is not None
        with suppress(subprocess.TimeoutExpired):
            self.stream.popen.wait(EXIT_SECONDS)
        self.stream.kill()
        self.stream = None

    # ---- messages and verification

    def send(self, most: int = 100) -> None:
        producer = Producer(self.settings.kafka, str(self.settings.kafka.bootstrap_servers))
        total = self.dice.randint(10, most)
        report = producer.produce(self.generator, rate_per_minute=600_000, total=total, stop=threading.Event())
        assert not report.failed, report
        self.sent += report.sent

    def send_values(self, values: list[bytes]) -> None:
        """Send raw message values."""
        config = client_config(self.settings.kafka, str(self.settings.kafka.bootstrap_servers))
        producer = KafkaProducer(**config, max_request_size=1 << 26)
        futures = [producer.send(self.settings.kafka.input.name, value) for value in values]
        for future in futures:
            future.get(30)
        producer.close()
        self.sent += len(values)

    def complaint(self, **changed: str) -> bytes:
        usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
        return json.dumps({"complaint_id": str(next(self.own_ids)), **usable, **changed}).encode()

    def pause(self, most: float) -> None:
        time.sleep(self.dice.uniform(0, most))

    def verified(self) -> Verified:
        """Run `verify` and assert that no invariant is broken; rows in progress are allowed."""
        found = verify(self.settings, lambda _: None)
        broken = [(one.name, dict(one.broken), dict(one.examples)) for one in found.invariants if not one.holds]
        assert not broken, broken
        return found

    def settle(self) -> Verified:
        """Wait until nothing is in progress, then check what was published."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            start = time.monotonic()
            found = self.verified()
            if not found.under_way:
                break
            left = {one.name: one.under_way for one in found.invariants if one.under_way}
            stream = self.up()  # a stream that gave up is started again, as a service manager would
            assert time.monotonic() < end, f"still in progress: {left}\n{stream.output[-3000:]}"
            time.sleep(time.monotonic() - start)  # verifying takes a core, which the stream needs as well
        missing = {one.name: one.apart.get(UNPUBLISHED, 0) for one in found.invariants}["published"]
        assert missing <= self.unpublished, f"{missing} decisions were never published, for {self.unpublished}"
        return found

    def one(self, statement: str) -> object:
        rows = query(self.settings, TABLES, statement).rows
        return rows[0][0] if rows else None

    @property
    def lake(self) -> Lake:
        return Lake(self.spark, self.settings)


Fault = Callable[[World], None]


def new_file(world: World) -> Path:
    path = world.settings.folder.parent / f"file-{time.monotonic_ns()}.json"
    path.write_bytes(b"".join(world.complaint() + b"\n" for _ in range(world.dice.randint(1, 40))))
    return path


def new_full_export(world: World) -> Path:
    """Write a full export: it lacks some complaints that silver has, changes a few, and has new ones."""
    found = query(
        world.settings,
        TABLES,
        "SELECT complaint_id, CAST(date_received AS VARCHAR) AS date_received, product, issue, company, state "
        "FROM silver.complaints WHERE is_synthetic IS NULL ORDER BY complaint_id",
    )
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows if world.dice.random() > MISSING_SHARE]
    for row in world.dice.sample(rows, 20):
        row["company"] = world.dice.choice(["ACME", "BANK"])
    path = new_file(world)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path
