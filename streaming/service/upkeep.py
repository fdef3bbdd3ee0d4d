"""What is done every so often while complaints stream, in its own thread: tables kept fit, models watched."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from pyspark.sql import SparkSession

from gold.aggregates import INCREMENTS
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from lakehouse.tables.maintenance import Maintained, maintain
from ml.registry.registry import Registry
from streaming.batch.quality_assessment import assess, warning
from streaming.queries.summarise import consolidate
from streaming.tables import MERGED, TABLES

POOL = "upkeep"
LOG_MINUTES = 0.25  # between two looks for a log that has grown long
Say = Callable[[str], None]


def run_upkeep(lake: Lake, table: Table) -> Maintained:
    """Maintain one table of the lake; one that queries merge into is not compacted.

    An aggregate's rows are put together first.
    """
    if table in INCREMENTS:
        consolidate(lake, table)
    return maintain(lake, table, is_compacted=table not in MERGED)


class ModelWatch:
    """Assesses the models at work (`streaming.batch.quality_assessment`); each alert is told once.

    Args:
        lake: that this process may write.
        registry: holds the versions.
        notify: told of an alert in a sentence.
    """

    def __init__(self, lake: Lake, registry: Registry, notify: Say) -> None:
        self._lake = lake
        self._registry = registry
        self._notify = notify
        self._told: set[tuple[object, ...]] = set()

    def __call__(self) -> None:
        """Assess what is new."""
        for row in assess(self._lake, self._registry):
            alert = (row.model_version, row.week, row.measure, row.feature)
            if row.is_alert and alert not in self._told:
                self._told.add(alert)
                self._notify(warning(row.asDict()))


@dataclass(frozen=True)
class UpkeepTask:
    """Something to be done every so often.

    Attributes:
        what: begins the sentence that says what went wrong: "The model could not be assessed".
        minutes: between two rounds, and before the first.
        do: one round.
        offset: minutes by which all of its rounds are later.
    """

    what: str
    minutes: float
    do: Callable[[], object]
    offset: float = 0.0


def upkeep_tasks(lake: Lake, minutes: float) -> list[UpkeepTask]:
    """Maintaining each table of the lake so often, one after another in even steps.

    All of them at once would hold the batches of a whole minute up.
    """
    step = minutes / len(TABLES)
    return [
        UpkeepTask(
            f"The table {table.name} could not be maintained", minutes, partial(run_upkeep, lake, table), number * step
        )
        for number, table in enumerate(TABLES)
    ]


class Upkeep:
    """Does chores, one at a time, as a context manager; what goes wrong is told and tried again next time.

    Args:
        spark: the session that the chores use; their jobs get a pool of their own.
        chores: what to do, and how often.
        notify: told in a sentence what went wrong.
    """

    def __init__(self, spark: SparkSession, chores: Sequence[UpkeepTask], notify: Say) -> None:
        self._spark = spark
        self._chores = chores
        self._notify = notify
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=POOL, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()  # a round under way is finished: Spark stops after it

    def _run(self) -> None:
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", POOL)
        due = {chore: time.monotonic() + (chore.minutes + chore.offset) * 60 for chore in self._chores}
        while True:
            chore = min(due, key=lambda one: due[one])
            if self._stop.wait(max(0.0, due[chore] - time.monotonic())):
                return
            try:
                chore.do()
            except Exception as error:  # noqa: BLE001 - the stream goes on whatever ails its upkeep
                self._notify(f"{chore.what} ({error}); it is tried again.")
            due[chore] = time.monotonic() + chore.minutes * 60
