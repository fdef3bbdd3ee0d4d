"""Upkeep tasks run while the stream runs, each at its interval; a failed one is retried."""

import threading
from itertools import pairwise

import pytest
from pyspark.sql import SparkSession

from bronze.tables import FILES
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from lakehouse.tables.maintenance import LEAST_FILES
from ml.registry.registry import Registry
from streaming.service import upkeep
from streaming.service.live import LiveStream
from streaming.service.upkeep import POOL, Upkeep, UpkeepTask, run_upkeep, upkeep_tasks
from streaming.tables import MERGED, TABLES
from tests.stream_fixtures import wait_until


def test_each_task_has_its_own_interval_and_a_failed_one_is_reported_and_retried(lake: Lake) -> None:
    done: list[str] = []
    reported: list[str] = []

    def fail() -> None:
        done.append("failing")
        msg = "the disk is full"
        raise OSError(msg)

    tasks = [
        UpkeepTask("The tables could not be maintained", 0.05 / 60, fail),
        UpkeepTask("The model could not be assessed", 0.1 / 60, lambda: done.append(str(pool(lake.spark)))),
        UpkeepTask("Never due", 60, lambda: done.append("never")),
        UpkeepTask("Due an hour later", 0.05 / 60, lambda: done.append("never"), offset=60),
    ]
    with Upkeep(lake, tasks, reported.append):
        wait_until(lambda: done.count(POOL) >= 3, "the third round")
    assert done.count("failing") > done.count(POOL)
    assert "never" not in done
    assert set(reported) == {"The tables could not be maintained (the disk is full); it will be retried."}
    ended = len(done)
    assert not [thread for thread in threading.enumerate() if thread.name == POOL]
    assert len(done) == ended


def pool(spark: SparkSession) -> str | None:
    return spark.sparkContext.getLocalProperty("spark.scheduler.pool")


def test_a_task_in_progress_finishes_before_the_stream_ends(lake: Lake) -> None:
    started, ended = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        threading.Event().wait(0.3)
        ended.set()

    with Upkeep(lake, [UpkeepTask("Slow work failed", 0.01 / 60, slow)], lambda _: None):
        assert started.wait(30)
    assert ended.is_set()


def test_every_table_is_maintained_and_tables_that_queries_merge_into_are_not_compacted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create(TABLES)
    for number in range(LEAST_FILES):
        row = {"sha256": str(number), "file": "a.csv", "rows": 1}
        lake.append(lake.frame([row], FILES), FILES, f"load:{number}")
    done = {each.table: each for each in (run_upkeep(lake, table) for table in TABLES)}
    assert set(done) == {table.name for table in TABLES}
    assert (done["bronze.files"].files_before, done["bronze.files"].files_after) == (LEAST_FILES, 1)
    maintained: dict[str, bool] = {}

    def noted(_: Lake, table: Table, *, is_compacted: bool) -> None:
        maintained[table.name] = is_compacted

    monkeypatch.setattr(upkeep, "maintain", noted)
    for task in upkeep_tasks(lake, 10):
        task.do()
    assert maintained == {table.name: table not in MERGED for table in TABLES}


def test_tables_are_maintained_one_after_another_at_even_intervals(lake: Lake) -> None:
    tasks = upkeep_tasks(lake, 10)
    assert len(tasks) == len(TABLES)
    assert {task.minutes for task in tasks} == {10}
    steps = [later.offset - task.offset for task, later in pairwise(tasks)]
    assert steps == pytest.approx([10 / len(TABLES)] * len(steps))
    assert tasks[0].offset == 0


def test_a_stream_evaluates_alerts_at_the_interval_of_the_settings(lake: Lake) -> None:
    def watch() -> None:
        return

    def minutes(every: float | None) -> list[float]:
        alerts = lake.settings.alerts.model_copy(update={"minutes": every})
        stream = LiveStream(lake.settings.model_copy(update={"alerts": alerts}), lambda _: None, watch=watch)
        stream.lake = lake
        return [task.minutes for task in stream._upkeep_tasks(Registry(lake.settings)) if task.do is watch]

    assert minutes(5) == [5]
    assert minutes(None) == []
