"""Keeps the tables fit while complaints stream: compaction and a short log, in a thread of its own."""

import threading
from collections.abc import Callable
from typing import Self

from lakehouse.lake import Lake
from lakehouse.maintenance import Maintained, maintain
from streaming.tables import MERGED, TABLES

POOL = "upkeep"


def keep_up(lake: Lake) -> list[Maintained]:
    """Maintain every table of the lake; those that queries merge into are not compacted."""
    return maintain(lake, TABLES, [table for table in TABLES if table not in MERGED])


class Upkeep:
    """Maintains the tables every so often, as a context manager; what goes wrong is told and tried again next time.

    Args:
        lake: a local lake.
        minutes: between two rounds.
        notify: told in a sentence what went wrong.
    """

    def __init__(self, lake: Lake, minutes: float, notify: Callable[[str], None]) -> None:
        self._lake = lake
        self._seconds = minutes * 60
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
        self._lake.spark.sparkContext.setLocalProperty("spark.scheduler.pool", POOL)
        while not self._stop.wait(self._seconds):
            try:
                keep_up(self._lake)
            except Exception as error:  # noqa: BLE001 - the stream goes on whatever ails its upkeep
                self._notify(f"The tables could not be maintained ({error}); it is tried again.")
