"""Periodic tasks while the stream runs, in a separate thread: table maintenance and model assessment."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from gold.aggregates import INCREMENTS
from gold.tables import MODEL_QUALITY
from lakehouse.spark.priority import run_in_background
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from lakehouse.tables.maintenance import Maintained, maintain
from ml.registry.registry import Registry
from streaming.batch.quality_assessment import assess, current_alerts
from streaming.queries.summarise import consolidate
from streaming.tables import MERGED, TABLES

POOL = "upkeep"
LOG_MINUTES = 0.25  # between two checks for long transaction logs
Say = Callable[[str], None]


def run_upkeep(lake: Lake, table: Table) -> Maintained:
    """Maintain one table of the lake; tables that queries merge into are not compacted.

    Rows of an aggregate are consolidated first.
    """
    if table in INCREMENTS:
        consolidate(lake, table)
    return maintain(lake, table, is_compacted=table not in MERGED)


class ModelWatch:
    """Assesses the versions that decided; an alert of the champion is reported once while it lasts.

    Args:
        lake: the lake; this process holds its writer lock.
        registry: holds the versions.
        notify: called with a sentence for each alert.
    """

    def __init__(self, lake: Lake, registry: Registry, notify: Say) -> None:
        self._lake = lake
        self._registry = registry
        self._notify = notify
        self._reported: set[tuple[str, str]] = set()

    def __call__(self) -> None:
        """Assess new decisions and outcomes."""
        if not assess(self._lake, self._registry):
            return
        rows = [row.asDict() for row in self._lake.read(MODEL_QUALITY).collect()]  # bounded: one row per week's measure
        alerts = {(one.version, one.measure): one for one in current_alerts(rows, self._registry.champion_version())}
        for key in alerts.keys() - self._reported:
            self._notify(str(alerts[key]))
        self._reported = set(alerts)


@dataclass(frozen=True)
class UpkeepTask:
    """A periodic task.

    Attributes:
        what: start of its error message: "The model could not be assessed".
        minutes: between two runs, and before the first.
        do: one run.
        offset: minutes by which all runs are delayed.
    """

    what: str
    minutes: float
    do: Callable[[], object]
    offset: float = 0.0


def upkeep_tasks(lake: Lake, minutes: float) -> list[UpkeepTask]:
    """Return one maintenance task per table, evenly spread over the interval of `minutes`.

    Maintaining all tables at once would delay batches for a whole minute.
    """
    step = minutes / len(TABLES)
    return [
        UpkeepTask(
            f"The table {table.name} could not be maintained", minutes, partial(run_upkeep, lake, table), number * step
        )
        for number, table in enumerate(TABLES)
    ]


class Upkeep:
    """Runs periodic tasks one at a time, as a context manager; reports failures and retries next time.

    Args:
        lake: whose session the tasks use; their jobs get their own scheduler pool.
        tasks: what to run, and how often.
        notify: called with a sentence when a task fails.
    """

    def __init__(self, lake: Lake, tasks: Sequence[UpkeepTask], notify: Say) -> None:
        self._lake = lake
        self._tasks = tasks
        self._notify = notify
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=POOL, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()  # let a running task finish before Spark stops

    def _run(self) -> None:
        self._lake.spark.sparkContext.setLocalProperty("spark.scheduler.pool", POOL)
        run_in_background(self._lake.spark, self._lake.settings)
        due = {task: time.monotonic() + (task.minutes + task.offset) * 60 for task in self._tasks}
        while True:
            task = min(due, key=lambda one: due[one])
            if self._stop.wait(max(0.0, due[task] - time.monotonic())):
                return
            try:
                task.do()
            except Exception as error:  # noqa: BLE001 - the stream continues whatever goes wrong with its upkeep
                self._notify(f"{task.what} ({error}); it will be retried.")
            due[task] = time.monotonic() + task.minutes * 60
