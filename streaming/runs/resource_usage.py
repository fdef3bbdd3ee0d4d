"""Resource usage of a run: CPU time, memory, files and disk."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from lakehouse.spark.internals import java_process

SAMPLE_SECONDS = 2.0
DISK_SECONDS = 60.0  # counting scans every file of the lake


@dataclass(frozen=True)
class Usage:
    """One sample of resource usage.

    Attributes:
        at: time of the sample.
        cpu_s: CPU seconds used by Spark and this process since they started.
        heap_mb: JVM heap in use, including garbage not yet collected.
        resident_mb: resident memory of Spark and this process.
        others_cores: CPU cores used by everything else on the machine since the previous sample.
        files: number of files of the tables and checkpoints; None between two disk scans.
        disk_mb: size of these files.
    """

    at: datetime
    cpu_s: float
    heap_mb: float
    resident_mb: float
    others_cores: float
    files: int | None = None
    disk_mb: float | None = None


class UsageRecorder:
    """Takes a sample every two seconds; call `poll` more often than that.

    Args:
        spark: the local session whose Java process is measured.
        folders: folders whose files are counted; empty if the report doesn't include them.
    """

    def __init__(self, spark: SparkSession, folders: Sequence[Path]) -> None:
        self._java = java_process(spark)
        self._processes = [psutil.Process(), psutil.Process(self._java.pid)]
        self._folders = folders
        self._next = self._next_disk = 0.0
        self._before: tuple[float, float, float] | None = None
        self.samples: list[Usage] = []

    def poll(self) -> None:
        """Take a sample if one is due."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SAMPLE_SECONDS
        files = disk = None
        if self._folders and now >= self._next_disk:
            self._next_disk = now + DISK_SECONDS
            files, disk = _disk(self._folders)
        cpu = sum(used.user + used.system for used in (process.cpu_times() for process in self._processes))
        self.samples.append(
            Usage(
                at=datetime.now(UTC),
                cpu_s=cpu,
                heap_mb=self._java.heap_bytes / 2**20,
                resident_mb=sum(process.memory_info().rss for process in self._processes) / 2**20,
                others_cores=self._others(now, cpu),
                files=files,
                disk_mb=disk,
            )
        )

    def _others(self, now: float, cpu: float) -> float:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        before, self._before = self._before, (now, busy, cpu)
        if before is None:
            return 0.0
        passed = now - before[0]  # 0 where the clock ticks slowly
        return max(0.0, (busy - before[1] - (cpu - before[2])) / passed) if passed else 0.0

    def cpu_seconds(self, since: datetime, until: datetime) -> float:
        """Return CPU seconds between two times, from the samples within them; 0 with fewer than two."""
        inside = [sample.cpu_s for sample in self.samples if since <= sample.at <= until]
        return inside[-1] - inside[0] if inside else 0.0

    def others_cores(self, since: datetime) -> float:
        """Return the average CPU cores used by everything else since then, including broker and producer."""
        inside = [sample.others_cores for sample in self.samples if sample.at >= since]
        return sum(inside) / len(inside) if inside else 0.0


def _disk(folders: Sequence[Path]) -> tuple[int, float]:
    files = size = 0
    for folder in folders:
        for where, _, names in os.walk(folder):
            files += len(names)
            for name in names:
                try:
                    size += (Path(where) / name).stat().st_size
                except FileNotFoundError:  # a temporary file that was deleted meanwhile
                    files -= 1
    return files, size / 2**20
