"""A stream to which faults are done at random, and which loses nothing: `complaints verify` says so after each.

Faults are of three kinds: those that a running stream gets over, those that end it, and those that are done to a lake
while nothing streams. They are drawn from a seed; what they meet then is a matter of the moment.
"""

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import psutil
from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from pyspark.sql import SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.sql.query import query
from lakehouse.tables import maintenance
from lakehouse.tables.lake import Lake, writer_lock
from lakehouse.tables.writer_lock import BusyError
from stewardship.erase import erase_complaint
from stewardship.quarantine import waiting
from stewardship.replay import replay
from stewardship.verification.invariants import UNPUBLISHED
from stewardship.verification.verify import Verified, verify
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Generator, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.topics import admin_client, client_config, consumer_of, delete_topic, ensure_topics
from streaming.service.upkeep import run_upkeep
from streaming.tables import TABLES
from tests.conftest import SAMPLES
from tests.stream_fixtures import wait_until

PROJECT = SAMPLES.parent
COPIED = ("bronze", "silver", "gold", "ml", "streaming", "lakehouse", "dashboards", "conf", "samples")
A_START = 180  # seconds that a start on a busy machine may take
A_SETTLEMENT = 240
AN_END = 60
STREAMS = "Streaming from"
QUERIES = ("ingest", "refine", "score", "summarise")
RULE = """
  - id: drawn_company
    field: company
    severity: quarantine
    expect: NOT startswith(raw.company, 'B')
    meaning: A rule that comes and goes.
"""


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


# ---- what a running stream gets over


def freeze(world: World, *, python: bool, java: bool) -> None:
    """Stopped in the middle of whatever it does, and woken some seconds later."""
    stream = world.up()
    world.send()
    world.pause(1.5)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    frozen = [pid for pid, wanted in ((stream.popen.pid, python), (spark.pid, java)) if wanted]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(world.dice.uniform(0.5, 4))
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


def send_oversized(world: World) -> None:
    """Messages as large as the topic takes, or somewhat smaller, among others."""
    most = world.settings.kafka.input.max_message_bytes
    sizes = [round(world.dice.choice((0.1, 0.3, 0.6, 0.95)) * most) for _ in range(world.dice.randint(1, 3))]
    world.send_values([world.complaint(complaint_what_happened="They said no. " * (size // 14)) for size in sizes])
    world.send(30)


def send_twofold(world: World) -> None:
    """Two objects in one message, and one message twice."""
    first, second = world.complaint(), world.complaint()
    world.send_values([first + second, first + b"\n" + second, first, first, second, second + b" "])
    world.send(30)


def work_beside(world: World) -> None:
    """What must not be done beside a stream is refused, and changes nothing."""
    file = new_file(world)
    known = world.one("SELECT complaint_id FROM gold.decisions LIMIT 1")
    tries: tuple[Callable[[], object], ...] = (
        lambda: load_files(world.settings, [file], lambda *_: None),
        lambda: replay(world.settings, reason=None, mended=None),
        lambda: erase_complaint(world.settings, int(str(known)), lambda _: None),
        lambda: score_backlog(world.settings, lambda *_: None),
    )
    world.send()
    for attempt in tries:
        with suppress(BusyError):
            attempt()
            msg = "two were let write the lake"
            raise AssertionError(msg)


def kill_broker(world: World) -> None:
    world.send()
    world.pause(1)
    world.brokers[0].kill()
    world.pause(2)
    world.brokers[0].start()
    world.send(30)


def drop_messages(world: World) -> None:
    """Kafka drops what was read, and of the decisions the older half."""
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    world.settle()
    with consumer_of(kafka, servers) as consumer:
        ends = {
            topic.name: consumer.end_offsets(
                [TopicPartition(topic.name, n) for n in consumer.partitions_for_topic(topic.name) or ()]
            )
            for topic in (kafka.input, kafka.predictions)
        }
    gone = {**ends[kafka.input.name], **{p: end // 2 for p, end in ends[kafka.predictions.name].items()}}
    with admin_client(kafka, servers) as admin:
        admin.delete_records({position: offset for position, offset in gone.items() if offset})
    world.send()


def remake_topic(world: World) -> None:
    """Deleted with all that it holds while it is read, and made again; what comes then has old offsets."""
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    world.send()
    world.pause(1.5)
    delete_topic(kafka, servers, kafka.input.name)
    wait_until(lambda: is_gone(world), 60, "the topic's end")
    wait_until(lambda: is_made(world), 60, "the topic")
    world.send(200)


def is_gone(world: World) -> bool:
    with admin_client(world.settings.kafka, str(world.settings.kafka.bootstrap_servers)) as admin:
        return world.settings.kafka.input.name not in admin.list_topics()


def is_made(world: World) -> bool:
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    with suppress(ComplaintsError, KafkaError):
        ensure_topics(kafka, servers)
        with consumer_of(kafka, servers) as consumer:
            return bool(consumer.partitions_for_topic(kafka.input.name))
    return False


def hand_over(world: World) -> None:
    """A standby goes on in the place of the stream, which is killed."""
    stream = world.up()
    standby = world.command("stream", "--standby")
    wait_until(partial(standby.says, "standing by"), A_START, "the standby")
    assert not standby.ended, standby.output[-3000:]
    world.pause(8)
    world.send()
    world.pause(1.5)
    stream.kill()
    world.stream = standby
    wait_until(partial(standby.says, STREAMS), A_START, "the standby's turn")
    assert not standby.ended, standby.output[-3000:]


def replace_frozen(world: World) -> None:
    """Python is killed and its Spark frozen; another stream is started, and the frozen one woken beside it."""
    stream = world.up()
    world.send()
    world.pause(1.5)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    os.kill(spark.pid, signal.SIGSTOP)
    stream.popen.kill()
    stream.popen.wait()
    world.stream = world.command("stream")
    time.sleep(world.dice.uniform(1, 15))
    world.send()
    with suppress(ProcessLookupError):
        os.kill(spark.pid, signal.SIGCONT)
    with suppress(psutil.TimeoutExpired):
        spark.wait(AN_END)
    stream.kill()


# ---- what ends it


def stop(world: World) -> None:
    world.send()
    world.pause(1.5)
    world.end()


def kill_python(world: World) -> None:
    """Its Spark finds out, some time later."""
    stream = world.up()
    world.send()
    world.pause(3)
    stream.popen.kill()
    stream.popen.wait()
    world.stream = None  # not waited for: what comes next must


def kill_java(world: World) -> None:
    stream = world.up()
    world.send()
    world.pause(3)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    spark.kill()
    world.gone()


def kill_all(world: World) -> None:
    stream = world.up()
    world.send()
    world.pause(3)
    stream.kill()
    world.stream = None


def change_broker(world: World) -> None:
    """Another cluster with a topic of the same name, with offsets that the lake knows from the first."""
    world.settle()
    world.end()
    world.brokers.reverse()
    kafka = world.settings.kafka.model_copy(update={"bootstrap_servers": world.brokers[0].bootstrap_servers})
    world.settings = world.settings.model_copy(update={"kafka": kafka})
    ensure_topics(kafka, str(kafka.bootstrap_servers))
    found = {one.name: one for one in verify(world.settings, lambda _: None).invariants}
    world.unpublished = found["published"].apart.get(UNPUBLISHED, 0)
    world.send(200)
    world.up()


# ---- what is done to a lake while nothing streams


def move_checkpoint(world: World) -> None:
    name = world.dice.choice(QUERIES)
    folder = world.settings.folder / "checkpoints" / name
    with writer_lock(world.settings):  # as who moves it is told: stop the stream first
        if folder.is_dir():
            folder.rename(world.settings.folder.parent / f"moved-{name}-{time.monotonic_ns()}")


def change_rules(world: World) -> None:
    """A rule comes or goes; what waits is judged by the other ones."""
    rules = world.tree / "conf" / "expectations.yaml"
    text = rules.read_text(encoding="utf-8")
    changed = text.replace(RULE, "") if RULE in text else text.rstrip() + "\n" + RULE
    rules.write_text(changed, encoding="utf-8")


def replay_some(world: World) -> None:
    found = waiting(world.settings, None, 1000).rows
    chosen = world.dice.sample(found, min(len(found), 5))
    mended = {str(row["record_id"]): world.complaint().decode() for row in chosen}
    replay(world.settings, reason=None, mended=mended or None)


def erase_one(world: World) -> None:
    known = query(world.settings, TABLES, "SELECT complaint_id FROM silver.complaints ORDER BY complaint_id").rows
    erase_complaint(world.settings, int(world.dice.choice(known)[0]), lambda _: None)


def maintain(world: World) -> None:
    least, maintenance.LEAST_FILES = maintenance.LEAST_FILES, 2
    try:
        for table in TABLES:
            run_upkeep(world.lake, table)
    finally:
        maintenance.LEAST_FILES = least


def new_file(world: World) -> Path:
    path = world.settings.folder.parent / f"file-{time.monotonic_ns()}.json"
    path.write_bytes(b"".join(world.complaint() + b"\n" for _ in range(world.dice.randint(1, 40))))
    return path


def load(world: World) -> None:
    assert not load_files(world.settings, [new_file(world)], lambda *_: None).errors


def kill_load(world: World) -> None:
    """Killed when it has begun to land, and loaded again."""
    path = new_file(world)
    process = world.command("load", str(path))
    folder = world.settings.folder
    staged = ("staging-*", "*/staging-*")
    wait_until(lambda: process.ended or any(any(folder.glob(each)) for each in staged), A_START, "the load")
    world.pause(1.5)
    process.kill()
    assert not load_files(world.settings, [path], lambda *_: None).errors


def score(world: World) -> None:
    """Decisions without a broker: they are not published, and none that was begun may be left half published."""
    world.unpublished += score_backlog(world.settings, lambda *_: None)


RUNNING: dict[str, Fault] = {
    "freeze-python": lambda world: freeze(world, python=True, java=False),
    "freeze-java": lambda world: freeze(world, python=False, java=True),
    "freeze-all": lambda world: freeze(world, python=True, java=True),
    "oversized": send_oversized,
    "twofold": send_twofold,
    "beside": work_beside,
    "kill-broker": kill_broker,
    "drop-messages": drop_messages,
    "remake-topic": remake_topic,
    "hand-over": hand_over,
    "replace-frozen": replace_frozen,
}
ENDING: dict[str, Fault] = {
    "stop": stop,
    "kill-python": kill_python,
    "kill-java": kill_java,
    "kill-all": kill_all,
    "change-broker": change_broker,
}
RESTING: dict[str, Fault] = {
    "move-checkpoint": move_checkpoint,
    "change-rules": change_rules,
    "replay": replay_some,
    "erase": erase_one,
    "maintain": maintain,
    "load": load,
    "kill-load": kill_load,
    "score": score,
}
FAULTS = {**RUNNING, **ENDING, **RESTING}


def drawn(dice: random.Random, names: set[str]) -> Iterator[str]:
    """Names of faults without end: some that the stream gets over, one that ends it, some in its absence, and again."""
    kinds = [([name for name in kind if name in names], counts) for kind, counts in _TURNS]
    while True:
        for enabled, (least, most) in kinds:
            if enabled:
                yield from dice.choices(enabled, k=dice.randint(least, most))


_TURNS: tuple[tuple[dict[str, Fault], tuple[int, int]], ...] = ((RUNNING, (3, 7)), (ENDING, (1, 1)), (RESTING, (1, 4)))


def do(world: World, name: str) -> None:
    """Do a fault and count; a stream that runs afterwards has settled before."""
    began = time.monotonic()
    number = sum(world.done.values()) + 1
    try:
        if name in RESTING:
            world.end()
            rested(world, FAULTS[name])
        else:
            world.up()
            FAULTS[name](world)
        if world.stream is None:
            world.verified()
        else:
            world.settle()
    except BaseException:
        world.say(f"{number:>4}  {name:<16} FAILED")
        raise
    spent = time.monotonic() - began
    world.done[name] += 1
    world.seconds[name] += round(spent)
    world.say(f"{number:>4}  {name:<16} {spent:5.1f} s  {world.sent:,} sent")


def rested(world: World, fault: Fault) -> None:
    """Do a fault once nobody writes the lake: a Spark that lost its Python may take a while to end."""
    end = time.monotonic() + AN_END
    while True:
        try:
            return fault(world)
        except BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
