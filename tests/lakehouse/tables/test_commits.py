"""Exactly once rests on marks: a batch's commit is found again, and looked for when it can be there and only then."""

import pytest

from lakehouse.tables import commits
from lakehouse.tables.commits import Guard, find, mark, marks_in_history, marks_in_log
from lakehouse.tables.declaration import Column, Table
from lakehouse.tables.lake import Lake

THINGS = Table("silver.things", "one thing", "Things.", (Column("id", "bigint", "Its number."),))


@pytest.fixture
def written(lake: Lake) -> Lake:
    """A table with batches 0 to 2 of a query, and nine commits of another writer after them."""
    lake.create([THINGS])
    rows = lake.frame([{"id": 1}], THINGS).localCheckpoint()
    for batch in range(3):
        lake.append(rows, THINGS, mark("query", batch))
    for number in range(9):
        lake.append(rows, THINGS, mark("load", f"file-{number}"))
    return lake


def test_the_logs_files_and_deltas_own_history_tell_the_same(written: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "FIRST_LOOK", 2)
    told = list(marks_in_log(written.path(THINGS)))
    assert told == list(marks_in_history(written, THINGS))
    assert [version for version, _ in told] == list(range(12, -1, -1))
    assert told[:2] == [(12, "load:file-8"), (11, "load:file-7")]
    assert told[-2:] == [(1, "query:0"), (0, "None")], "the commit that made the table has no mark"


def test_a_mark_is_found_behind_the_commits_of_other_writers(written: Lake) -> None:
    assert find(written, THINGS, "query:2") == 3
    assert find(written, THINGS, "query:0") == 1
    assert find(written, THINGS, "load:file-8") == 12
    assert find(written, THINGS, "query:1") == 2


def test_what_was_never_written_is_not_found(written: Lake) -> None:
    for wanted in ("query:3", "query:12", "query", "another:2", "load:file-9"):
        assert find(written, THINGS, wanted) is None


def test_the_search_ends_at_an_older_batch_of_a_writer_in_order(written: Lake) -> None:
    assert find(written, THINGS, "load:file-0", in_order=True) is None, "told to be in order, so it can't lie behind"
    assert find(written, THINGS, "query:3", in_order=True) is None
    assert find(written, THINGS, "query:2", in_order=True) == 3


def test_only_the_first_batch_of_a_start_is_looked_for(written: Lake) -> None:
    guard = Guard(written, "query")
    assert guard.mark(2) == "query:2"
    assert guard.written(THINGS, 2) == 3
    assert guard.written(THINGS, 1) is None, "another batch can't have been written before, so it isn't asked"
    assert guard.written(THINGS, 2) == 3, "of each table that the first batch writes"


def test_a_start_whose_first_batch_is_new_finds_nothing(written: Lake) -> None:
    assert Guard(written, "query").written(THINGS, 3) is None
    assert Guard(written, "another query").written(THINGS, 2) is None
