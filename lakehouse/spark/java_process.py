"""Spark's Java process: how its end is told, when it was killed or ran out of memory."""

import subprocess
import sys
from contextlib import suppress

LAST_SECONDS = 1.0  # a process that was killed may take a moment to end
ENDED = (
    "Spark's Java process has ended: it was killed, or there was too little memory. What is written stays: "
    "run the command again. logs/java.log in the lake's folder may say more."
)


def has_ended() -> bool:
    """Whether this process started Spark, and its Java process has ended."""
    pyspark = sys.modules.get("pyspark")  # not imported only to find that there is none
    gateway = pyspark.SparkContext._gateway if pyspark else None
    process: subprocess.Popen[bytes] | None = getattr(gateway, "proc", None)
    if process is None:
        return False
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_SECONDS)
    return process.poll() is not None
