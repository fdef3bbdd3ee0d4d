"""Priorities of the JVM's threads: what nobody waits for gives way while both cores are busy.

Only Linux has priorities per thread, and lists threads with their names; elsewhere all threads stay equal.
"""

import os
from contextlib import suppress
from pathlib import Path

from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.spark.internals import java_process, jvm_of

COMPILER = "C2 "  # the threads of the optimizing compiler
BACKGROUND = "background"
_NICENESS = 5  # with 10 a thread gets nothing while both cores are busy, and they stay busy


def lower_priority(spark: SparkSession, name: str) -> None:
    """Lower the priority of the local JVM's threads whose name starts with this."""
    for thread in Path(f"/proc/{java_process(spark).pid}/task").glob("*"):
        with suppress(OSError):  # the thread has ended meanwhile
            if (thread / "comm").read_text().startswith(name):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _NICENESS)


def run_in_background(spark: SparkSession, settings: Settings) -> None:
    """Lower the priority of the JVM thread that plans and starts the work of the calling Python thread.

    Each Python thread has its own JVM thread; in a streaming query's batch that is the thread of the query. A cluster's
    JVM is left as it is.
    """
    if not settings.platform.starts_spark:
        return
    thread = jvm_of(spark).java.lang.Thread.currentThread()
    thread.setName(f"{BACKGROUND}: {thread.getName()}")
    lower_priority(spark, BACKGROUND)
