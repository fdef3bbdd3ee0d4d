"""Spark starts in a thread while Python goes on importing, and neither can block the other; a pause ends nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

START_AHEAD = "from lakehouse.spark.session import start_ahead; start_ahead(settings)"
CHECKS = "from complaints.setup import _checked; _checked(settings, as_json=True, is_debug=False)"
SCRIPT = """
import sys, threading
from lakehouse.settings import load_settings

class StoppedError(Exception): ...

def start(thread):
    print("distutils" in sys.modules)
    raise StoppedError

settings = load_settings(root=sys.argv[1])
threading.Thread.start = start
try:
    {call}
except StoppedError:
    pass
"""


@pytest.mark.parametrize("call", [START_AHEAD, CHECKS], ids=["start ahead", "checks"])
def test_distutils_is_imported_before_the_first_thread(tmp_path: Path, call: str) -> None:
    """Imported later, setuptools would be imported under Python's import lock, which a starting process waits for."""
    command = [sys.executable, "-c", SCRIPT.format(call=call), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["True"]), done.stderr


PAUSED = """
import os, signal, sys, time
from lakehouse.settings import load_settings
from lakehouse.spark.internals import java_process
from lakehouse.spark.session import start_session

spark = start_session(load_settings(root=sys.argv[1]))
held = spark.range(1000).localCheckpoint()
java = java_process(spark).pid
os.kill(java, signal.SIGSTOP)
time.sleep(150)  # Spark would take an executor for lost after 120
os.kill(java, signal.SIGCONT)
time.sleep(30)  # three heartbeats
print(held.count())
"""


@pytest.mark.faults
def test_spark_goes_on_after_a_pause_of_minutes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PAUSED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1000"), done.stderr
    assert "heartbeat" not in (tmp_path / "logs" / "spark.log").read_text().lower()
