"""The tables are kept fit in a thread of its own, which outlives trouble and ends with the stream."""

import threading

import pytest

from bronze.tables import FILES
from lakehouse.lake import Lake
from lakehouse.maintenance import LEAST_FILES
from streaming import upkeep
from streaming.tables import MERGED, TABLES
from streaming.upkeep import Upkeep, keep_up


def test_every_table_is_kept_fit_and_those_that_queries_merge_into_keep_their_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create(TABLES)
    for number in range(LEAST_FILES):
        row = {"sha256": str(number), "file": "a.csv", "rows": 1}
        lake.append(lake.frame([row], FILES), FILES, f"load:{number}")
    done = {each.table: each for each in keep_up(lake)}
    assert set(done) == {table.name for table in TABLES}
    assert (done["bronze.files"].files_before, done["bronze.files"].files_after) == (LEAST_FILES, 1)
    asked: list[str] = []
    monkeypatch.setattr(upkeep, "maintain", lambda _, __, compacted: asked.extend(table.name for table in compacted))
    keep_up(lake)
    assert set(asked) == {table.name for table in TABLES} - {table.name for table in MERGED}


def test_what_goes_wrong_is_told_and_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tried = threading.Semaphore(0)

    def fail(_: Lake) -> None:
        tried.release()
        msg = "the disk is full"
        raise OSError(msg)

    monkeypatch.setattr(upkeep, "keep_up", fail)
    with Upkeep(lake, 0.001 / 60, told.append):
        assert tried.acquire(timeout=10)
        assert tried.acquire(timeout=10)
    assert told[0] == "The tables could not be maintained (the disk is full); it is tried again."
    assert not [thread for thread in threading.enumerate() if thread.name == upkeep.POOL]


def test_a_stream_that_ends_soon_has_no_round(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[Lake] = []
    monkeypatch.setattr(upkeep, "keep_up", rounds.append)
    with Upkeep(lake, 60, lambda _: None):
        pass
    assert rounds == []
