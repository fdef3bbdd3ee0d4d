"""A start continues from the saved snapshot, and reads silver again when the two differ."""

import pytest
from pyspark.sql import functions as F

from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from silver.known_complaints import NOTHING_WRITTEN, KnownComplaints
from silver.tables import COMPLAINTS, DUPLICATES, OUTCOMES
from streaming.batch.full_export import NOTHING
from streaming.queries import known_snapshot
from streaming.queries.refine import RefineBatch
from streaming.queries.stored_rows import StoredRows
from tests.streaming.queries.test_partial_batches import Refinery
from tests.streaming.queries.test_refine import QUERY, WRITTEN, _no_mark_left, archived, complaint, rows_of

__all__ = ["_no_mark_left"]  # the fixture

pytestmark = pytest.mark.usefixtures("_no_mark_left")

FIRST = [complaint(1), complaint(2, response="In progress"), complaint(3, narrative="Its own")]
SECOND = [complaint(4), complaint(1, response="Closed"), archived(2, "Came late"), complaint(2, response="Closed")]
AGAIN = [*FIRST, *SECOND, complaint(4, Company="OTHER"), complaint(5)]


@pytest.fixture
def refinery(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Refinery:
    """A lake with a batch of which a snapshot was saved, and another one after it."""
    monkeypatch.setattr("streaming.queries.stored_rows.LEAST_COMPLAINTS", 3)
    monkeypatch.setattr("streaming.queries.stored_rows.GROWTH", 100)
    lake.create((*WRITTEN, OUTCOMES))
    made = Refinery(lake)
    write = RefineBatch(lake, Guard(lake, QUERY), QUERY, made.rules)
    write(made.batch(0, FIRST), 0)
    assert len(known_snapshot.load(lake.settings).known) == 3  # type: ignore[union-attr]
    write(made.batch(1, SECOND), 1)
    return made


def read_from_silver(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often all of silver is read."""
    found: list[int] = []
    stored = KnownComplaints.stored
    monkeypatch.setattr(KnownComplaints, "stored", lambda *keys: found.append(1) or stored(*keys))  # type: ignore[func-returns-value]
    return found


def kinds_of_repeats(refinery: Refinery) -> list[str]:
    refinery.run(2, AGAIN)
    repeats = refinery.lake.read(DUPLICATES).where("record_id LIKE '%/2__'").orderBy("record_id")
    return [row.kind for row in repeats.collect()]


EXPECTED = ["unchanged"] * 7 + ["revised"]


def test_a_start_reads_only_what_was_refined_later(refinery: Refinery, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_from_silver(monkeypatch)
    assert kinds_of_repeats(refinery) == EXPECTED
    assert whole == []
    assert sorted(row.complaint_id for row in rows_of(refinery.lake, COMPLAINTS)) == [1, 2, 3, 4, 5]


def test_a_full_export_reads_only_what_was_refined_later(refinery: Refinery, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_from_silver(monkeypatch)
    known = StoredRows(refinery.lake).known(NOTHING, NOTHING_WRITTEN, refinery.lake.spark)
    assert whole == []
    assert len(known) == 4


def test_a_snapshot_that_is_not_of_this_silver_is_not_used(refinery: Refinery, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, whole = refinery.lake, read_from_silver(monkeypatch)
    lake.spark.sql(f"ALTER TABLE {lake.identifier(COMPLAINTS)} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    lake.delta(COMPLAINTS).delete(F.col("complaint_id") == 3)
    refinery.run(2, [complaint(3)])
    assert whole == [1]
    assert sorted(row.complaint_id for row in rows_of(lake, COMPLAINTS)) == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_without_a_readable_snapshot_silver_is_read(
    refinery: Refinery, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = refinery.lake.settings.folder / "known" / "complaints.npz"
    if content is None:
        known_snapshot.remove(refinery.lake.settings)
    else:
        path.write_bytes(content)
    whole = read_from_silver(monkeypatch)
    assert kinds_of_repeats(refinery) == EXPECTED
    assert whole == [1]


def test_a_batch_that_was_killed_after_the_snapshot_is_judged_as_the_first_time(refinery: Refinery) -> None:
    refinery.run(1, SECOND)  # again, as after a kill, by a query that knows the snapshot alone
    assert [row.kind for row in rows_of(refinery.lake, DUPLICATES)] == ["outcome", "narrative", "outcome"]
    records = [row.record_id for table in (COMPLAINTS, DUPLICATES) for row in rows_of(refinery.lake, table)]
    assert len(records) == len(set(records)) == len(FIRST) + len(SECOND)
