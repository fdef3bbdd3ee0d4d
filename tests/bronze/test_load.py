"""A file's rows are in bronze exactly once, even if a load was killed and the log has lost early commits."""

from dataclasses import replace
from pathlib import Path

import pytest

from bronze import load, tables
from bronze.load import files_of, land_file, skipped_in
from bronze.tables import COMPLAINTS, FILES
from lakehouse.tables.lake import Lake
from silver.fields import KNOWN_KEYS
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


def test_columns_that_are_no_field_are_recorded_also_in_a_lake_from_an_earlier_version(
    lake: Lake, tmp_path: Path
) -> None:
    earlier = tuple(column for column in FILES.columns if column.name != "unknown_columns")
    lake.create([replace(FILES, columns=earlier)])
    lake.create(tables.TABLES)
    path = tmp_path / "notes.csv"
    path.write_text("Complaint ID,Product,Notes,Has narrative\n1,Mortgage,x,y\n", encoding="utf-8")
    landed = land_file(lake, path, KNOWN_KEYS)
    assert landed.unknown_columns == ("Notes", "Has narrative")
    assert land_file(lake, FILE, KNOWN_KEYS).unknown_columns == ()
    assert {row.file: row.unknown_columns for row in lake.read(FILES).collect()} == {
        path.name: ["Notes", "Has narrative"],
        FILE.name: [],
    }


def test_all_data_files_of_a_folder_are_listed_and_the_skipped_ones_too(tmp_path: Path) -> None:
    names = ["EXPORT.CSV", "._EXPORT.CSV", ".DS_Store", "a/more.Json", "a/tab.tsv", "notes.txt", "__MACOSX/x.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    given = [tmp_path, tmp_path / "notes.txt"]
    assert files_of(given) == [tmp_path / name for name in ("EXPORT.CSV", "a/more.Json", "a/tab.tsv", "notes.txt")]
    assert skipped_in(given) == []
    assert skipped_in([tmp_path]) == [tmp_path / "notes.txt"]


def test_missing_rows_of_a_file_are_added(lake: Lake) -> None:
    lake.create(tables.TABLES)
    land_file(lake, FILE, KNOWN_KEYS)
    lake.spark.sql(f"ALTER TABLE {lake.identifier(COMPLAINTS)} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    lake.delta(COMPLAINTS).delete("offset <= 20")
    lake.delta(FILES).delete()
    land_file(lake, FILE, KNOWN_KEYS)
    rows = lake.read(COMPLAINTS)
    assert rows.count() == rows.select("record_id").distinct().count() == ROWS
