"""The writer lock of a lake: held by the Python process that requests it, and by the Java process that writes.

The two processes don't end together. When Python is killed, Java runs on for a second or two, or indefinitely if it is
frozen, possibly in the middle of a batch. So Java holds its own lock on a second file, which the operating system
releases only when the Java process ends; the next writer waits for that.
"""

import fcntl
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.spark.internals import jvm_of

JAVA_SECONDS = 15.0  # to wait for the Java process of a killed run
LOOK_SECONDS = 0.1
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
        self._lock = FileLock(place, timeout=0)
        self._java_place = place.with_suffix(".java.lock")
        self._spark: SparkSession | None = None
        self._channel: Any = None  # Java's
        try:
            self._lock.acquire()
        except Timeout as error:
            raise BusyError(refusal) from error
        try:
            _wait_for_java(self._java_place, patience)
        except BusyError:
            self._lock.release()
            raise

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
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


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
