"""A warmed-up second stream that waits while another one runs and takes over when that one ends.

Most of the startup time is spent in the JVM: class loading, compilation, first-time planning. A standby does that in
advance, on a small scratch lake, by streaming complaints generated from the samples.
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
from streaming.kafka.generator import FIRST_GENERATED_ID, Generator, Mix, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.sending import TICK_SECONDS, Sending
from streaming.service.live import Handover, LiveStream
from streaming.service.scratch_lake import lake_with_champion

FOLDER = "standby"
ASK_SECONDS = 0.1
# Enough batches for the JVM to compile their code, far enough apart not to slow the active stream; several starts,
# because a start is what must be fast.
WARM_UP_STARTS = 3
WARM_UP_SECONDS = 20  # after each
WARM_UP_RATE = 2_000  # complaints per minute
WARM_UP_COMPLAINTS = WARM_UP_RATE * WARM_UP_SECONDS // 60
WARM_UP_MIX = Mix(malformed=0.01, duplicates=0.01, updated=0.01)
SETTLE_SECONDS = 60.0  # maximum wait for the stream to score what was sent
MIN_SCORED_SHARE = 0.9  # share of what was sent; the rest are duplicates, outcomes and quarantined rows
WARM_UP_INTERVALS_MS = {
    "ingest_interval_ms": 5_000,
    "merge_interval_ms": 15_000,
    "revise_interval_ms": 15_000,
    "summarise_interval_ms": 15_000,
}


def stand_by(
    settings: Settings, samples: Sequence[Path], notify: Callable[[str], None], stop: threading.Event
) -> Handover | None:
    """Wait for the writer lock and return the handover for a stream, or None if `stop` was set first.

    If another process writes the lake, this one warms up, and stops warming up when the lock becomes free.

    Raises:
        ComplaintsError: on Databricks, without a champion, or if the warm-up failed.
    """
    if not settings.platform.has_one_writer:
        msg = "A standby is for a stream on one machine; on Databricks the job restarts the stream by itself."
        raise ComplaintsError(msg)
    poll, model = _LockPoll(settings), None
    if not poll.try_acquire():
        notify("Another process is writing the lake: standing by, and warming up for a few minutes.")
        _warm_up(settings, samples, poll, stop)
        if not (stop.is_set() or poll.try_acquire()):
            model = Registry(settings).champion()
            notify("Warmed up: this process takes over as soon as the other one ends.")
    while not stop.is_set():
        if lock := poll.try_acquire():
            return Handover(lock, model)
        stop.wait(ASK_SECONDS)
    poll.release()
    return None


class _LockPoll:
    """Polls for the writer lock."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock: WriterLock | None = None

    def try_acquire(self) -> WriterLock | None:
        """Return the writer lock once no other process holds it."""
        if self._lock is None:
            with suppress(BusyError):
                self._lock = writer_lock(self._settings, patience=0)
        return self._lock

    def release(self) -> None:
        """Release the lock if it was acquired."""
        if self._lock:
            self._lock.release()


def _warm_up(settings: Settings, samples: Sequence[Path], poll: _LockPoll, stop: threading.Event) -> None:
    """Stream on a scratch lake with a broker of its own, until all was sent or the writer lock is free."""
    enough = threading.Event()

    def check() -> None:
        if stop.is_set() or poll.try_acquire():
            enough.set()

    start_session(settings)  # before the scratch lake's session: Spark's log and scratch files belong to the root
    rows = read_rows(samples)
    with lake_with_champion(_warm_up_settings(settings), FOLDER) as scratch:
        for start in range(WARM_UP_STARTS):
            if not enough.is_set():
                first_id = FIRST_GENERATED_ID + start * WARM_UP_COMPLAINTS
                generator = Generator(rows, WARM_UP_MIX, seed=1, first_id=first_id, start=datetime.now(UTC).date())
                _stream_once(scratch, generator, enough, check)


def _stream_once(settings: Settings, generator: Generator, enough: threading.Event, check: Callable[[], None]) -> None:
    """Start a stream, send messages, wait until most are scored, stop."""
    with LiveStream(settings, lambda _: None) as stream:

        def tick(_: int) -> None:
            stream.tick()
            check()

        producer = Producer(settings.kafka, stream.bootstrap_servers)
        sending = Sending(producer, generator, rate_per_minute=WARM_UP_RATE, total=WARM_UP_COMPLAINTS, stop=enough)
        sending.follow(tick)
        end = time.monotonic() + SETTLE_SECONDS
        while stream.health.rows.get("score", 0) < MIN_SCORED_SHARE * WARM_UP_COMPLAINTS and time.monotonic() < end:
            tick(0)
            if enough.wait(TICK_SECONDS):
                return


def _warm_up_settings(settings: Settings) -> Settings:
    """Return settings for the warm-up: long intervals, a separate broker, and no metrics port.

    The active stream uses the metrics port.
    """
    kafka = {"bootstrap_servers": None, "security_protocol": "PLAINTEXT", "username": None, "password": None}
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={**kafka, "ca_file": None}),
            "streaming": settings.streaming.model_copy(update=WARM_UP_INTERVALS_MS),
            "monitoring": settings.monitoring.model_copy(update={"metrics_port": None}),
        }
    )
