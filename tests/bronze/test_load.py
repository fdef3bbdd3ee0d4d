"""A file's rows are in bronze exactly once, even if a load was killed and the log has lost early commits."""

import pytest

from bronze import load, tables
from bronze.load import land_file
from bronze.tables import COMPLAINTS, FILES
from lakehouse.tables.lake import Lake
from streaming.batch.load import KNOWN_KEYS
from tests.conftest import SAMPLES

FILE = SAMPLES / "export-2017-snake-case.csv.gz"
ROWS = 145


class KilledError(Exception):
    """Simulates the kill."""


def without_early_commits(lake: Lake) -> None:
    """Shorten the log as maintenance does: its checkpoint and the commits from there on."""
    lake.append(lake.read(COMPLAINTS).limit(0), COMPLAINTS, "another:0")
    log = lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog  # type: ignore[union-attr]
    log.forTable(lake.spark._jsparkSession, str(lake.path(COMPLAINTS))).checkpoint()
    for commit in sorted((lake.path(COMPLAINTS) / "_delta_log").glob("*.json"))[:-1]:
        commit.unlink()


def test_a_load_that_was_killed_before_recording_its_file_adds_no_duplicates(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KilledError

    lake.create(tables.TABLES)
    with monkeypatch.context() as patch:
        patch.setattr(load, "_record_load", killed)
        with pytest.raises(KilledError):
            land_file(lake, FILE, KNOWN_KEYS)
    assert lake.read(FILES).count() == 0
    without_early_commits(lake)
    assert land_file(lake, FILE, KNOWN_KEYS).rows == ROWS
    rows = lake.read(COMPLAINTS)
    assert rows.count() == rows.select("record_id").distinct().count() == ROWS
    assert land_file(lake, FILE, KNOWN_KEYS).is_known
    assert not list(lake.settings.folder.glob("staging-*"))


def test_missing_rows_of_a_file_are_added(lake: Lake) -> None:
    lake.create(tables.TABLES)
    land_file(lake, FILE, KNOWN_KEYS)
    lake.spark.sql(f"ALTER TABLE {lake.identifier(COMPLAINTS)} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    lake.delta(COMPLAINTS).delete("offset <= 20")
    lake.delta(FILES).delete()
    land_file(lake, FILE, KNOWN_KEYS)
    rows = lake.read(COMPLAINTS)
    assert rows.count() == rows.select("record_id").distinct().count() == ROWS
