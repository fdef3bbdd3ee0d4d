"""The world in which faults happen: a lake, its brokers, the stream, and whoever sends."""

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
from streaming.kafka.generator import Generator, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.topics import client_config
from streaming.tables import TABLES
from tests.conftest import SAMPLES
from tests.stream_fixtures import wait_until

PROJECT = SAMPLES.parent
COPIED = ("bronze", "silver", "gold", "ml", "streaming", "lakehouse", "dashboards", "conf", "samples")
A_START = 180  # seconds that a start on a busy machine may take
A_SETTLEMENT = 240
AN_END = 60
STREAMS = "Streaming from"


@dataclass
class Process:
    """A process of the command line, the first of its group, with its own log."""

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
        """Its Spark."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.popen.pid).children(recursive=True)
            return next((child for child in children if child.name() == "java" and is_spark(child)), None)
        return None

    def says(self, words: str) -> bool:
        """Whether it has said this, or ended."""
        return words in self.output or self.ended

    def kill(self) -> None:
        """End the whole group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


def is_spark(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("spark" in word.lower() for word in process.cmdline())
    return False


@dataclass
class World:
    """A lake, its brokers, the stream, and whoever sends.

    Attributes:
        settings: of the lake, with the broker that it reads now.
        spark: for what is done to the lake in this process.
        brokers: the one that is read now, and another one.
        dice: draws what is done, and how.
        say: told of each fault.
    """

    settings: Settings
    spark: SparkSession
    brokers: list[Broker]
    dice: random.Random
    say: Callable[[str], None]
    stream: Process | None = None
    processes: list[Process] = field(default_factory=list)
    sent: int = 0
    unpublished: int = 0  # decisions that the broker may lack: made without it
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rows = read_rows([SAMPLES / "export-2017-snake-case.csv.gz"])
        shares = {"malformed": 0.1, "duplicates": 0.1, "updated": 0.1}
        seed, first = self.dice.randrange(1 << 30), 100_000_000
        self.generator = Generator(rows, seed=seed, first_id=first, start=date(2024, 3, 4), **shares)
        self.own_ids = iter(range(900_000_000, 1_000_000_000))
        # Of its own, since rules are changed in it.
        self.tree = self.settings.folder.parent / "project"
        for name in COPIED:
            shutil.copytree(PROJECT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("jars.lock", "pyproject.toml"):
            shutil.copy(PROJECT / name, self.tree / name)

    # ---- the stream

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
            "COMPLAINTS_STREAMING__UPKEEP_MINUTES": "1",
            "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",  # these processes do not live long enough for the other one
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
        """The stream, started when there is none, and again while an earlier one has not ended yet."""
        end = time.monotonic() + A_START
        stream = self.stream
        while stream is None or stream.ended:
            self.stream = stream = self.command("stream")
            wait_until(partial(stream.says, STREAMS), A_START, "the stream's start")
            waits = ("Another process", "still writes the lake")  # for the Spark of an earlier one
            refused = stream.ended and any(each in stream.output for each in waits)
            assert not stream.ended or (refused and time.monotonic() < end), stream.output[-3000:]
        return stream

    def end(self) -> None:
        """Stop the stream in good order."""
        if self.stream is not None and not self.stream.ended:
            self.stream.popen.send_signal(signal.SIGTERM)
            assert self.stream.popen.wait(AN_END * 2) == 0, self.stream.output[-3000:]
        self.stream = None

    def gone(self) -> None:
        """Wait for a stream that was hurt to be gone, Spark and all."""
        assert self.stream is not None
        with suppress(subprocess.TimeoutExpired):
            self.stream.popen.wait(AN_END)
        self.stream.kill()
        self.stream = None

    # ---- sending and counting

    def send(self, most: int = 100) -> None:
        producer = Producer(self.settings.kafka, str(self.settings.kafka.bootstrap_servers))
        total = self.dice.randint(10, most)
        report = producer.produce(self.generator, rate_per_minute=600_000, total=total, stop=threading.Event())
        assert not report.failed, report
        self.sent += report.sent

    def send_values(self, values: list[bytes]) -> None:
        """Messages as they are."""
        config = client_config(self.settings.kafka, str(self.settings.kafka.bootstrap_servers))
        producer = KafkaProducer(**config, max_request_size=1 << 26, buffer_memory=1 << 27)
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
        """What is found now; whatever moves meanwhile, nothing may be broken."""
        found = verify(self.settings, lambda _: None)
        broken = [(one.name, dict(one.broken), dict(one.examples)) for one in found.invariants if not one.holds]
        assert not broken, broken
        return found

    def settle(self) -> Verified:
        """Wait until all has come through, and count."""
        end = time.monotonic() + A_SETTLEMENT
        while True:
            found = self.verified()
            if not found.under_way:
                break
            left = {one.name: one.under_way for one in found.invariants if one.under_way}
            stream = self.up()  # a stream that gave up is started again, as a service manager would
            assert time.monotonic() < end, f"still under way: {left}\n{stream.output[-3000:]}"
            time.sleep(0.3)
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
