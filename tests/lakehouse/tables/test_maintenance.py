"""Small files are compacted and old commits deleted, without losing rows or commits that readers need."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import load_settings
from lakehouse.tables import maintenance
from lakehouse.tables.lake import Lake
from lakehouse.tables.maintenance import LEAST_FILES, checkpoint_log, maintain
from silver.tables import EXPECTATIONS, QUARANTINE

COMMITS = LEAST_FILES + 2


@pytest.fixture(scope="module")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake with a table that a stream has appended to, batch by batch, two hours ago."""
    lake = Lake(spark, load_settings(root=tmp_path_factory.mktemp("appended") / "lake"))
    lake.create([EXPECTATIONS])
    often = "ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.checkpointInterval' = '4')"
    lake.spark.sql(often.format(path=lake.path(EXPECTATIONS)))
    for number in range(COMMITS):
        lake.append(lake.frame([broken(number)], EXPECTATIONS), EXPECTATIONS, f"q:{number}")
    for commit in log(lake).glob("*.json"):
        os.utime(commit, (time.time() - 7200, time.time() - 7200))
    return lake.settings.folder


@pytest.fixture
def appended(lake: Lake, template: Path) -> Lake:
    """A copy of that lake for one test."""
    shutil.copytree(template, lake.settings.folder, dirs_exist_ok=True)
    return lake


def broken(batch: int) -> dict[str, object]:
    return {
        "query_id": "q", "batch_id": batch, "rule": "state_unknown", "field": "state", "severity": "warn",
        "checked": 10, "broken": 1, "refined_at": "2024-03-04T05:06:07+00:00",
    }  # fmt: skip


def log(lake: Lake) -> Path:
    return lake.path(EXPECTATIONS) / "_delta_log"


def write_checkpoint(lake: Lake, *versions: int) -> None:
    """Write a query's checkpoint as Spark does: batches that read up to these versions, the last one unfinished."""
    table_id = lake.table_id(EXPECTATIONS)
    folder = Path(lake.checkpoint("score"))
    for name in ("offsets", "commits"):
        (folder / name).mkdir(parents=True)
    for batch, version in enumerate(versions, start=7):
        offset = {"sourceVersion": 1, "reservoirId": table_id, "reservoirVersion": version, "index": -1}
        (folder / "offsets" / str(batch)).write_text(f"v1\n{{}}\n{json.dumps(offset)}\n")
        if version != versions[-1]:
            (folder / "commits" / str(batch)).write_text("v1\n{}\n")


def batches(lake: Lake) -> list[int]:
    return sorted(row.batch_id for row in lake.read(EXPECTATIONS).collect())


def test_many_small_files_are_compacted_into_one_without_losing_rows(appended: Lake) -> None:
    done = maintain(appended, EXPECTATIONS, is_compacted=True)
    assert (done.table, done.files_before, done.files_after) == ("silver.expectations", COMMITS, 1)
    assert done.commits_dropped > 0
    assert batches(appended) == list(range(COMMITS))
    appended.append(appended.frame([broken(99)], EXPECTATIONS), EXPECTATIONS, "q:99")
    assert batches(appended)[-1] == 99
    again = maintain(appended, EXPECTATIONS, is_compacted=True)
    assert (again.files_before, again.files_after) == (2, 2), "two files are not worth a commit"


def test_files_replaced_by_a_compaction_are_deleted_once_no_version_needs_them(
    appended: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "DEAD_FILES", 5)
    folder = appended.path(EXPECTATIONS)
    done = maintain(appended, EXPECTATIONS, is_compacted=True)
    assert done.files_deleted == 0, "the compaction is new, and the versions before it can still be read"
    for number in range(100, 105):
        appended.append(appended.frame([broken(number)], EXPECTATIONS), EXPECTATIONS, f"q:{number}")
    for commit in log(appended).glob("*.json"):
        os.utime(commit, (time.time() - 7200, time.time() - 7200))
    monkeypatch.setattr(maintenance, "LEAST_HOURS", 0)
    monkeypatch.setattr(maintenance, "CLOCK_HOURS", -3)  # as if it all happened two hours ago for Delta too
    done = maintain(appended, EXPECTATIONS, is_compacted=False)
    assert done.files_deleted == COMMITS
    assert len(list(folder.glob("*.parquet"))) == done.files_after == 6
    assert batches(appended) == [*range(COMMITS), *range(100, 105)]


@pytest.mark.parametrize("age", [600, -7200], ids=["ten minutes old", "the clock was set back"])
def test_in_the_first_hour_of_a_stream_the_files_of_every_version_stay(
    appended: Lake, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    before = appended.version(EXPECTATIONS)
    maintain(appended, EXPECTATIONS, is_compacted=True)
    for path in appended.path(EXPECTATIONS).glob("*.parquet"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))  # so that only their removal is recent
    for commit in log(appended).glob("*.json"):
        os.utime(commit, (time.time() - age, time.time() - age))
    monkeypatch.setattr(maintenance, "DEAD_FILES", 0)
    done = maintain(appended, EXPECTATIONS, is_compacted=True)
    assert (done.files_after, done.files_deleted) == (1, 0)
    assert appended.read(EXPECTATIONS, version=before).count() == COMMITS


def test_large_files_do_not_make_a_few_small_ones_worth_a_commit(
    appended: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sorted(path.stat().st_size for path in appended.path(EXPECTATIONS).glob("*.parquet"))
    monkeypatch.setattr(maintenance, "SMALL_BYTES", sizes[0])  # so that all files count as large
    done = maintain(appended, EXPECTATIONS, is_compacted=True)
    assert (done.files_before, done.files_after) == (COMMITS, COMMITS)


def test_the_log_retention_is_a_setting(appended: Lake) -> None:
    settings = appended.settings
    longer = settings.lake.model_copy(update={"log_retention": "interval 3 hours"})
    kept = Lake(appended.spark, settings.model_copy(update={"lake": longer}))
    done = maintain(kept, EXPECTATIONS, is_compacted=False)
    assert done.commits_dropped == 0
    done = maintain(appended, EXPECTATIONS, is_compacted=False)
    assert done.commits_dropped > 0, "they are two hours old, and retained for one"


def test_a_table_that_is_merged_into_keeps_its_files(appended: Lake) -> None:
    done = maintain(appended, EXPECTATIONS, is_compacted=False)
    assert (done.files_before, done.files_after) == (COMMITS, COMMITS)
    assert batches(appended) == list(range(COMMITS))


def test_commits_that_a_query_has_not_read_stay(appended: Lake) -> None:
    write_checkpoint(appended, 6, 17)
    maintain(appended, EXPECTATIONS, is_compacted=True)
    kept = sorted(int(path.stem) for path in log(appended).glob("*.json"))
    assert kept[0] == 4, "the unfinished batch is read again from the end of the one before"
    assert kept == list(range(kept[0], kept[-1] + 1))


def test_a_batch_that_is_run_again_finds_the_version_before_its_own_commit(appended: Lake) -> None:
    write_checkpoint(appended, 0)
    started = min(commit.stat().st_mtime for commit in log(appended).glob("*.json")) - 1
    unfinished = Path(appended.checkpoint("score")) / "offsets" / "7"
    unfinished.write_text("v1\n{}\n-\n")  # reads no table
    os.utime(unfinished, (started, started))
    for commit in list(log(appended).glob("*.json")):
        if int(commit.stem) < 12:
            os.utime(commit, (started - 60, started - 60))
    maintain(appended, EXPECTATIONS, is_compacted=False)
    assert appended.read(EXPECTATIONS, version=11).count() > 0


def test_a_long_log_is_checkpointed_and_the_table_reads_as_before(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LONG_LOG", 3)
    lake.create([EXPECTATIONS])
    for number in range(3):
        assert checkpoint_log(lake, [EXPECTATIONS]) is None
        lake.append(lake.frame([broken(number)], EXPECTATIONS), EXPECTATIONS, f"q:{number}")
    assert checkpoint_log(lake, [EXPECTATIONS]) == EXPECTATIONS
    assert checkpoint_log(lake, [EXPECTATIONS]) is None, "one is there now"
    assert [path.name for path in log(lake).glob("*.checkpoint.parquet")] == [f"{3:020d}.checkpoint.parquet"]
    for commit in sorted(log(lake).glob("*.json"))[:-1]:
        commit.unlink()
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    assert batches(lake) == [0, 1, 2]


def test_the_longest_log_is_checkpointed_first(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LONG_LOG", 2)
    lake.create([EXPECTATIONS, QUARANTINE])
    refused: dict[str, object] = {"record_id": "r", "payload": "{", "reasons": ["not_json"]}
    for table, row, commits in ((EXPECTATIONS, broken(0), 2), (QUARANTINE, refused, 3)):
        for number in range(commits):
            lake.append(lake.frame([row], table), table, f"q:{number}")
    in_turn = [checkpoint_log(lake, [EXPECTATIONS, QUARANTINE]) for _ in range(3)]
    assert in_turn == [QUARANTINE, EXPECTATIONS, None]


def test_new_commits_stay(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.create([EXPECTATIONS])
    for number in range(3):
        lake.append(lake.frame([broken(number)], EXPECTATIONS), EXPECTATIONS, f"q:{number}")
    monkeypatch.setattr(maintenance, "LEAST_FILES", 2)
    done = maintain(lake, EXPECTATIONS, is_compacted=True)
    assert (done.files_after, done.commits_dropped) == (1, 0)
