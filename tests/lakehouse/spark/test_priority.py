"""The priority of a JVM thread: lowered for the compiler and for work in the background, and for nothing else."""

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.spark.internals import java_process, jvm_of
from lakehouse.spark.priority import BACKGROUND, COMPILER, run_in_background

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities per thread")


def priorities(spark: SparkSession) -> dict[str, set[int]]:
    """Return the niceness of the JVM's threads, by name: the first fifteen letters."""
    found: dict[str, set[int]] = {}
    for thread in Path(f"/proc/{java_process(spark).pid}/task").iterdir():
        name = (thread / "comm").read_text().strip()
        found.setdefault(name, set()).add(os.getpriority(os.PRIO_PROCESS, int(thread.name)))
    return found


STARTS = """
import sys
from lakehouse.settings import load_settings
from lakehouse.spark.session import start_session
from tests.lakehouse.spark.test_priority import priorities

print(priorities(start_session(load_settings(root=sys.argv[1]))))
"""


def test_the_optimizing_compiler_gives_way(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "JDK_JAVA_OPTIONS"}
    command = [sys.executable, "-c", STARTS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, set[int]] = ast.literal_eval(done.stdout.splitlines()[-1])
    assert {name[:3] for name, niceness in found.items() if niceness != {0}} == {COMPILER}
    assert {5} == set.union(*(niceness for name, niceness in found.items() if name.startswith(COMPILER)))


def test_a_python_thread_in_the_background_has_a_jvm_thread_that_gives_way(
    spark: SparkSession, settings: Settings
) -> None:
    seen: dict[str, object] = {}

    def work() -> None:
        run_in_background(spark, settings)
        seen["name"] = jvm_of(spark).java.lang.Thread.currentThread().getName()
        seen["rows"] = spark.range(3).count()
        seen["priorities"] = priorities(spark)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert str(seen["name"]).startswith(f"{BACKGROUND}: ")
    assert seen["rows"] == 3
    found = seen["priorities"]
    assert isinstance(found, dict)
    assert found[f"{BACKGROUND}: Thre"[:15]] == {5}
    assert found["dag-scheduler-e"] == {0}, "threads that all work shares are left as they are"
    own = jvm_of(spark).java.lang.Thread.currentThread().getName()
    assert not own.startswith(BACKGROUND), "another Python thread's is left as it is"
