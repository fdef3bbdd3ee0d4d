"""The writer lock of a lake is held as long as the Java process that writes it, however Python ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.tables.lake import open_lake, writer_lock
from lakehouse.tables.writer_lock import BusyError, _is_locked

# The Java process of Spark, started as PySpark does, but without a session.
WRITING = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from pyspark.java_gateway import launch_gateway
from lakehouse.setup.java import find_java
from lakehouse.tables.lake import writer_lock
from lakehouse.settings import load_settings
lock = writer_lock(load_settings(root=Path(sys.argv[1])))
os.environ["JAVA_HOME"] = str(find_java().home)
spark = SimpleNamespace(_jvm=launch_gateway().jvm)
lock.hand_to(spark)
print(spark._jvm.java.lang.ProcessHandle.current().pid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writing(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the writer lock, and the id of its Java process."""
    command = [sys.executable, "-c", WRITING, str(settings.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as python:
        assert python.stdout is not None
        java = int(python.stdout.readline())
        yield python, java
        for pid in (java, python.pid):
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)


def test_a_writer_waits_for_a_java_process_that_outlives_its_python(
    writing: tuple[subprocess.Popen[str], int], settings: Settings
) -> None:
    python, java = writing
    os.kill(java, signal.SIGSTOP)  # as in the middle of a commit
    with pytest.raises(BusyError, match="Another process is writing the lake"):
        writer_lock(settings, patience=0)
    python.kill()
    python.wait()
    with pytest.raises(BusyError, match=f"The Java process {java} still writes the lake in .*kill -9 {java}"):
        writer_lock(settings, patience=0.5)
    os.kill(java, signal.SIGCONT)
    with writer_lock(settings):
        assert not Path(f"/proc/{java}").exists() or "zombie" in Path(f"/proc/{java}/status").read_text()


def test_a_completely_frozen_process_keeps_the_lock(
    writing: tuple[subprocess.Popen[str], int], settings: Settings
) -> None:
    python, java = writing
    for pid in (python.pid, java):
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BusyError, match="Another process is writing the lake"):
        writer_lock(settings, patience=0)
    python.kill()
    python.wait()
    with pytest.raises(BusyError, match=f"The Java process {java} still writes"):
        writer_lock(settings, patience=0.5)
    os.kill(java, signal.SIGKILL)
    writer_lock(settings).release()


def test_the_lock_is_released_while_the_session_stays_open(spark: SparkSession, settings: Settings) -> None:
    for _ in range(2):
        with writer_lock(settings) as lock:
            assert open_lake(lock, settings).spark is spark
            assert _is_locked(settings.folder / "writer.java.lock")
        writer_lock(settings, patience=0).release()
