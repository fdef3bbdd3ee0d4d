"""A pinned table does not change while a stream writes, and missing columns of an earlier version are null."""

from pathlib import Path

import pytest

from bronze.tables import ERASURES, FILES
from lakehouse.sql.pinned import PinnedTables, newest_version
from lakehouse.tables.declaration import Column, Table
from lakehouse.tables.lake import Lake


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """A lake with one table of two rows."""
    lake.create([FILES])
    lake.append(lake.frame([{"sha256": "a", "rows": 1}, {"sha256": "b", "rows": 2}], FILES), FILES, "test:1")
    return lake


def test_later_commits_are_not_seen(filled: Lake, tmp_path: Path) -> None:
    pinned = PinnedTables(filled.settings, tmp_path)
    pinned.pin(FILES, ("sha256", "rows"))
    filled.append(filled.frame([{"sha256": "c", "rows": 3}], FILES), FILES, "test:2")
    for _ in range(2):
        assert pinned.connection.execute('SELECT sum("rows") FROM bronze.files').fetchone() == (3,)
    assert (pinned.versions[FILES], newest_version(filled.settings, FILES)) == (1, 2)


def test_a_missing_column_is_null_and_a_missing_table_is_empty(filled: Lake, tmp_path: Path) -> None:
    widened = Table(FILES.name, FILES.grain, FILES.comment, (*FILES.columns, Column("seen_at", "timestamp", "Later.")))
    pinned = PinnedTables(filled.settings, tmp_path)
    pinned.pin(widened, ("sha256", "seen_at"))
    pinned.pin(ERASURES, ("record_id", "complaint_id"))
    rows = pinned.connection.execute("SELECT sha256, seen_at FROM bronze.files ORDER BY 1").fetchall()
    assert rows == [("a", None), ("b", None)]
    assert pinned.connection.execute("SELECT record_id, complaint_id FROM bronze.erasures").fetchall() == []
    assert pinned.versions[ERASURES] is None
