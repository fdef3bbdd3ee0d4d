"""The writer lock of a lake: held by the Python process that requests it, and by the Java process that writes.

The two processes don't end together. When Python is killed, Java runs on for a second or two, or indefinitely if it is
frozen, possibly in the middle of a batch. So Java holds its own lock on a second file, which the operating system
releases only when the Java process ends; the next writer waits for that.
"""

import fcntl
import os
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from filelock import FileLock, Timeout
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.spark.internals import jvm_of

JAVA_SECONDS = 15.0  # to wait for the Java process of a killed run
LOOK_SECONDS = 0.1
WIDTH = 100  # characters of a command line in a message
_UNRELEASED: list[Any] = []  # Java's locks for queries that could not be stopped


class BusyError(ComplaintsError):
    """Raised when another process holds the lock or lease that this one needs."""


class WriterLock:
    """An exclusive lock on a folder, as a context manager that releases it.

    Args:
        place: path of Python's lock file.
        refusal: the error message while another process holds the lock.
        patience: seconds to wait for a Java process whose Python process was killed.

    Raises:
        BusyError: another process holds the lock.
    """

    def __init__(self, place: Path, refusal: str, patience: float = JAVA_SECONDS) -> None:
        self._place = place
        self._lock = FileLock(place, timeout=0)
        self._java_place = place.with_suffix(".java.lock")
        self._spark: SparkSession | None = None
        self._channel: Any = None  # Java's
        try:
            self._lock.acquire()
        except Timeout as error:
            msg = f"{refusal} It is {lock_holder(place) or 'gone by now'}."
            raise BusyError(msg) from error
        try:
            _wait_for_java(self._java_place, patience)
        except BusyError:
            self._lock.release()
            raise
        _pid_file(place).write_text(str(os.getpid()), encoding="utf-8")

    def hand_to(self, spark: SparkSession) -> None:
        """Have the session's Java process hold the lock too, until `release` or until that process ends.

        Raises:
            BusyError: another Java process holds the lock.
        """
        java = jvm_of(spark)
        channel = java.java.io.RandomAccessFile(str(self._java_place), "rw").getChannel()
        if channel.tryLock() is None:
            channel.close()
            raise _orphaned_java(self._java_place)
        self._java_place.write_text(str(java.java.lang.ProcessHandle.current().pid()), encoding="utf-8")
        self._channel, self._spark = channel, spark

    def release(self) -> None:
        """Release the lock; if a query could not be stopped, its Java process holds the lock until it ends."""
        with suppress(Py4JError, OSError):  # the Java process has ended, which released its lock
            if self._spark is not None and self._spark.streams.active:
                _UNRELEASED.append(self._channel)
            elif self._spark is not None:
                self._channel.close()
        _pid_file(self._place).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True)
class Holder:
    """The process that holds a writer lock.

    Attributes:
        pid: its id; None if it can't be read.
        command: its command line, from the program's name on; empty if it can't be read.
        started_at: when the process started.
    """

    pid: int | None
    command: str = ""
    started_at: datetime | None = None

    def __str__(self) -> str:
        """Return the process as messages name it."""
        if self.pid is None:
            return "a process whose id can't be read"
        return f"process {self.pid} ({self.command})" if self.command else f"process {self.pid}"


def lock_holder(place: Path) -> Holder | None:
    """Return the process that holds the writer lock, or None; neither takes the lock nor waits for it.

    Args:
        place: path of Python's lock file.
    """
    java = place.with_suffix(".java.lock")
    for file, is_held, pid in ((place, _is_flocked, _pid_file(place)), (java, _is_locked, java)):
        if is_held(file):
            text = pid.read_text(encoding="utf-8").strip() if pid.is_file() else ""
            return _described(int(text)) if text.isdigit() else Holder(None)
    return None


def _pid_file(place: Path) -> Path:
    return place.with_suffix(".pid")


def _described(pid: int) -> Holder:
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        started_at = datetime.fromtimestamp(process.create_time(), UTC)
    except psutil.Error:  # it has just ended, or belongs to another user
        return Holder(pid)
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[1:]
    command = " ".join([Path(words[0]).name, *words[1:]]) if words else ""
    return Holder(pid, textwrap.shorten(command, WIDTH), started_at)


def _is_flocked(place: Path) -> bool:
    """Whether a process holds Python's lock on the file."""
    if not place.is_file():
        return False
    with place.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _wait_for_java(place: Path, patience: float) -> None:
    """Wait until no Java process holds a lock on this file.

    Raises:
        BusyError: one still does after `patience` seconds.
    """
    end = time.monotonic() + patience
    while _is_locked(place):
        if time.monotonic() >= end:
            raise _orphaned_java(place)
        time.sleep(LOOK_SECONDS)


def _is_locked(place: Path) -> bool:
    """Whether a process holds a POSIX lock on the file, the kind that Java uses; Python's is of another kind."""
    if not place.is_file():
        return False
    with place.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _orphaned_java(place: Path) -> BusyError:
    process = place.read_text(encoding="utf-8") or "of another run"
    return BusyError(
        f"The Java process {process} still writes the lake in {place.parent}, though the command that started it is "
        f"gone: wait until it has ended, or end it (kill -9 {process}); nothing was changed."
    )
