"""A second stream, warmed up, that waits beside the one at work and goes on in its place when that one ends.

Most of what a start takes is Java's: loading classes, compiling, planning for the first time. A standby has done that
before it is needed, on a small lake of its own, by streaming complaints made from the samples.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.spark.session import start_session
from lakehouse.tables.lake import writer_lock
from lakehouse.tables.writer_lock import BusyError, WriterLock
from ml.registry.registry import Registry
from streaming.kafka.generator import Generator, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.sending import TICK_SECONDS, Sending
from streaming.service.live import Handover, LiveStream
from streaming.service.scratch_lake import lake_with_champion

FOLDER = "standby"
ASK_SECONDS = 0.1
# Enough batches for Java to compile what they do, far enough between that the stream at work is not held up; several
# starts, since a start is what must be quick.
WARM_UP_STARTS = 3
WARM_UP_SECONDS = 20  # after each
WARM_UP_RATE = 2_000  # complaints a minute
WARM_UP_COMPLAINTS = WARM_UP_RATE * WARM_UP_SECONDS // 60
WARM_UP_MIX = {"malformed": 0.01, "duplicates": 0.01, "updated": 0.01}
SETTLE_SECONDS = 60.0  # at most, for the stream to score what was sent
MOST = 0.9  # of what was sent; the rest are repeats, outcomes and what is refused
FIRST_ID = 100_000_000  # above the CFPB's own numbers
WARM_UP_INTERVALS_MS = {"ingest_interval_ms": 5_000, "summarise_interval_ms": 15_000}


def stand_by(
    settings: Settings, samples: Sequence[Path], notify: Callable[[str], None], stop: threading.Event
) -> Handover | None:
    """Wait until nobody writes the lake; gives what a stream then has ready, or None when `stop` was set before.

    When somebody does, this process warms itself up first, and stops warming up when it is needed.

    Raises:
        ComplaintsError: on Databricks; there is no champion; or the warm-up failed.
    """
    if not settings.is_local:
        msg = "A standby is for a stream on one machine; on Databricks the job starts the stream again by itself."
        raise ComplaintsError(msg)
    turn, model = _Turn(settings), None
    if not turn.asked():
        notify("Another process is writing the lake: standing by, and warming up for some minutes.")
        _warm_up(settings, samples, turn, stop)
        if not (stop.is_set() or turn.asked()):
            model = Registry(settings).champion()
            notify("Warmed up: this process goes on as soon as the other one ends.")
    while not stop.is_set():
        if lock := turn.asked():
            return Handover(lock, model)
        stop.wait(ASK_SECONDS)
    turn.pass_on()
    return None


class _Turn:
    """The writer lock, asked for until it is had."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock: WriterLock | None = None

    def asked(self) -> WriterLock | None:
        """The writer lock, once nobody else has it."""
        if self._lock is None:
            with suppress(BusyError):
                self._lock = writer_lock(self._settings, patience=0)
        return self._lock

    def pass_on(self) -> None:
        """Give the right back if it was had."""
        if self._lock:
            self._lock.release()


def _warm_up(settings: Settings, samples: Sequence[Path], turn: _Turn, stop: threading.Event) -> None:
    """Stream on a scratch lake with a broker of its own, until all was sent or it is this process's turn."""
    enough = threading.Event()

    def look() -> None:
        if stop.is_set() or turn.asked():
            enough.set()

    start_session(settings)  # before that of the scratch lake: Spark's log and scratch files belong to the root
    rows = read_rows(samples)
    with lake_with_champion(_alone(settings), FOLDER) as scratch:
        for start in range(WARM_UP_STARTS):
            if not enough.is_set():
                first_id = FIRST_ID + start * WARM_UP_COMPLAINTS
                generator = Generator(rows, seed=1, first_id=first_id, start=datetime.now(UTC).date(), **WARM_UP_MIX)
                _stream_once(scratch, generator, enough, look)


def _stream_once(settings: Settings, generator: Generator, enough: threading.Event, look: Callable[[], None]) -> None:
    """One start of a stream: send, score most of it, stop."""
    with LiveStream(settings, lambda _: None) as stream:

        def tick(_: int) -> None:
            stream.tick()
            look()

        producer = Producer(settings.kafka, stream.bootstrap_servers)
        sending = Sending(producer, generator, rate_per_minute=WARM_UP_RATE, total=WARM_UP_COMPLAINTS, stop=enough)
        sending.follow(tick)
        end = time.monotonic() + SETTLE_SECONDS
        while stream.health.rows.get("score", 0) < MOST * WARM_UP_COMPLAINTS and time.monotonic() < end:
            tick(0)
            if enough.wait(TICK_SECONDS):
                return


def _alone(settings: Settings) -> Settings:
    """The same at a slow pace, with a broker of its own, and without metrics, whose port the stream at work has."""
    kafka = {"bootstrap_servers": None, "security_protocol": "PLAINTEXT", "username": None, "password": None}
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={**kafka, "ca_file": None}),
            "streaming": settings.streaming.model_copy(update=WARM_UP_INTERVALS_MS),
            "monitoring": settings.monitoring.model_copy(update={"metrics_port": None}),
        }
    )
