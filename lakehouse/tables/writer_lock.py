"""The writer lock of a lake: held by Python, which asks for it, and by the Java process, which writes.

The two don't end together. When Python is killed Java goes on for a second or two, and as long as it likes while it is
frozen, with a batch in its hands. So Java holds a lock of its own on a second file, which the system takes from it when
it is gone and not before; whoever comes next waits for that.
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

JAVA_SECONDS = 15.0  # for which the Java process of a run that was killed is waited for
LOOK_SECONDS = 0.1
_KEPT: list[Any] = []  # what Java holds for a query that could not be stopped


class BusyError(ComplaintsError):
    """Raised when another process has the right that this one wants."""


class WriterLock:
    """The right to do something in a folder, as a context manager that gives it back.

    Args:
        place: the file whose lock Python holds.
        refusal: what somebody is told while another process has the right.
        patience: seconds for which a Java process is waited for that its Python has left behind.

    Raises:
        BusyError: another process has it.
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
        """Have the session's Java process hold the right too, before it writes; it does until `release` or its end.

        Raises:
            BusyError: another Java process has it.
        """
        java = jvm_of(spark)
        channel = java.java.io.RandomAccessFile(str(self._java_place), "rw").getChannel()
        if channel.tryLock() is None:
            channel.close()
            raise _left_behind(self._java_place)
        self._java_place.write_text(str(java.java.lang.ProcessHandle.current().pid()), encoding="utf-8")
        self._channel, self._spark = channel, spark

    def release(self) -> None:
        """Give the right back; while a query could not be stopped, its Java process keeps it until it ends."""
        with suppress(Py4JError, OSError):  # Java is gone, and its lock with it
            if self._spark is not None and self._spark.streams.active:
                _KEPT.append(self._channel)
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
    """Wait until no Java process holds its lock on this file.

    Raises:
        BusyError: one still does after so many seconds.
    """
    end = time.monotonic() + patience
    while _is_locked(place):
        if time.monotonic() >= end:
            raise _left_behind(place)
        time.sleep(LOOK_SECONDS)


def _is_locked(place: Path) -> bool:
    """Whether a process holds a POSIX lock on the file, as Java's are; Python's own is of another kind."""
    if not place.is_file():
        return False
    with place.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _left_behind(place: Path) -> BusyError:
    process = place.read_text(encoding="utf-8") or "of another run"
    return BusyError(
        f"The Java process {process} still writes the lake in {place.parent}, though the command that started it is "
        f"gone: wait until it has ended, or end it (kill -9 {process}); nothing was changed."
    )
