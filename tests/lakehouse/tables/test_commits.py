"""Exactly-once writes rely on marks: a batch's commit is found again, and searched for only when it may exist."""

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


def test_log_files_and_delta_history_have_the_same_marks(written: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "FIRST_LOOK", 2)
    marks = list(marks_in_log(written.path(THINGS)))
    assert marks == list(marks_in_history(written, THINGS))
    assert [version for version, _ in marks] == list(range(12, -1, -1))
    assert marks[:2] == [(12, "load:file-8"), (11, "load:file-7")]
    assert marks[-2:] == [(1, "query:0"), (0, "None")], "the commit that made the table has no mark"


def test_a_mark_is_found_before_commits_of_other_writers(written: Lake) -> None:
    assert find(written, THINGS, "query:2") == 3
    assert find(written, THINGS, "query:0") == 1
    assert find(written, THINGS, "load:file-8") == 12
    assert find(written, THINGS, "query:1") == 2


def test_what_was_never_written_is_not_found(written: Lake) -> None:
    for wanted in ("query:3", "query:12", "query", "another:2", "load:file-9"):
        assert find(written, THINGS, wanted) is None


def test_the_search_ends_at_an_older_batch_of_an_ordered_writer(written: Lake) -> None:
    assert find(written, THINGS, "load:file-0", in_order=True) is None, "the search ends at a newer mark"
    assert find(written, THINGS, "query:3", in_order=True) is None
    assert find(written, THINGS, "query:2", in_order=True) == 3


def test_only_the_first_batch_after_a_start_is_searched_for(written: Lake) -> None:
    guard = Guard(written, "query")
    assert guard.mark(2) == "query:2"
    assert guard.written(THINGS, 2) == 3
    assert guard.written(THINGS, 1) is None, "another batch can't have been written before, so there is no search"
    assert guard.written(THINGS, 2) == 3, "for each table that the first batch writes"


def test_a_start_whose_first_batch_is_new_finds_nothing(written: Lake) -> None:
    assert Guard(written, "query").written(THINGS, 3) is None
    assert Guard(written, "another query").written(THINGS, 2) is None
