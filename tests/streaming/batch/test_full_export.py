"""A full export over what is there: unchanged rows are stored nowhere, and complaints that are gone are withdrawn."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from bronze import load as landing
from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import FILES
from lakehouse.settings import Settings
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from silver.repeated_rows import Hashes
from silver.tables import COMPLAINTS, DUPLICATES, OUTCOMES, QUARANTINE, REVISIONS, WITHDRAWALS
from streaming.batch.full_export import FullExport
from streaming.batch.load import LoadResult, load_files, load_full_export
from streaming.tables import TABLES

TITLES = ("Complaint ID", "Date received", "Product", "Issue", "Company", "State", "Company response to consumer")
Rows = dict[int, dict[str, str]]
Write = Callable[[str, Rows], Path]


def complaints(count: int) -> Rows:
    day = {number: f"2023-05-{1 + number // 10:02}" for number in range(1, count + 1)}
    return {
        number: {"Date received": day[number], "Product": "Mortgage", "Issue": "Trouble", "Company": "BANK"}
        for number in day
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, rows: Rows) -> Path:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, TITLES)
            writer.writeheader()
            writer.writerows({"Complaint ID": number, **row} for number, row in rows.items())
        return tmp_path / name

    return to


def load(settings: Settings, path: Path) -> dict[str, Any]:
    result = load_full_export(settings, path, lambda *_: None)
    assert result.errors == ()
    return result.as_json()


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    names = ("rows", "silver", "quarantined", "duplicates", "unchanged", "withdrawn", "returned")
    assert result["rows"] == sum(result[name] for name in names[1:5])
    return tuple(result[name] for name in names)


def events(lake: Lake) -> list[tuple[int, str, str]]:
    rows = lake.read(WITHDRAWALS).orderBy("observed_at", "complaint_id").collect()
    return [(row.complaint_id, row.change, row.file) for row in rows]


def by_day(lake: Lake) -> list[tuple[str, int]]:
    rows = query(lake.settings, TABLES, "SELECT * FROM gold.withdrawals_by_day ORDER BY date_received").rows
    assert all(row[1:5] == ("Mortgage", "Trouble", "BANK", "") for row in rows)
    return [(str(row[0]), row[5]) for row in rows]


def test_the_next_days_export_stores_only_what_is_new_or_has_changed(
    lake: Lake, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    compare = FullExport._compared

    def counted(export: FullExport, rest: Path, records: pa.Array, hashes: Hashes) -> pa.Array:
        parsed.append(len(records))
        return compare(export, rest, records, hashes)

    monkeypatch.setattr(FullExport, "_compared", counted)
    rows = complaints(100)
    refused = {900: {"Date received": "soon", "Product": "Mortgage"}}
    assert counts(load(lake.settings, write("day1.csv", rows | refused))) == (101, 100, 1, 0, 0, 0, 0)
    stored = lake.read(BRONZE).count()

    rows[7]["Company response to consumer"] = "Closed with explanation"
    rows[8]["Product"] = "Student loan"
    del rows[9], rows[10]
    rows |= {101: {"Date received": "2023-05-11", "Product": "Mortgage", "Company": "BANK"}}
    result = load(lake.settings, write("day2.csv", rows | refused))
    assert counts(result) == (100, 1, 0, 2, 97, 2, 0)
    assert lake.read(BRONZE).count() == stored + 3
    assert sorted(row.kind for row in lake.read(DUPLICATES).collect()) == ["outcome", "revised"]
    assert [row.complaint_id for row in lake.read(REVISIONS).collect()] == [8]
    assert [row.complaint_id for row in lake.read(OUTCOMES).collect()] == [7]
    assert events(lake) == [(9, "withdrawn", "day2.csv"), (10, "withdrawn", "day2.csv")]
    assert by_day(lake) == [("2023-05-01", 1), ("2023-05-02", 1)]
    assert {row.file: row.unchanged for row in lake.read(FILES).collect()} == {"day1.csv": 0, "day2.csv": 97}

    rows |= {9: complaints(9)[9]}
    assert counts(load(lake.settings, write("day3.csv", rows))) == (100, 0, 0, 0, 100, 0, 1)
    assert events(lake)[2:] == [(9, "returned", "day3.csv")]
    assert by_day(lake) == [("2023-05-02", 1)]
    assert load(lake.settings, write("day3 again.csv", rows))["files"]["day3 again.csv"]["known"]
    assert lake.read(QUARANTINE).count() == 1
    assert parsed == [101, len([7, 8, 101, 900]), len([9])], "rows that repeat those of the day before are not"


def test_a_file_that_lacks_too_much_is_no_full_export(lake: Lake, write: Write) -> None:
    load(lake.settings, write("all.csv", complaints(100)))
    some = {number: row for number, row in complaints(100).items() if number > 6}
    result = load_full_export(lake.settings, write("some.csv", some), lambda *_: None)
    (error,) = result.errors
    assert error == (
        "some.csv is no full export, and nothing of it was landed: it has 94 rows and lacks 6 complaints that are "
        "here, 6.0% of those it should have; a full export may lack 5.0% (silver.most_withdrawn_share): load it "
        "without --snapshot, or raise the setting."
    )
    assert lake.read(WITHDRAWALS).isEmpty()
    archive = write("archive.csv", {})
    archive.write_text("Complaint ID,Consumer complaint narrative\n1,Why?\n", encoding="utf-8")
    result = load_full_export(lake.settings, archive, lambda *_: None)
    assert "it has 1 rows and lacks 99 complaints" in result.errors[0]
    assert lake.read(FILES).count() == 1
    assert lake.read(BRONZE).count() == 100


def test_complaints_that_arrived_after_the_export_or_were_generated_are_not_missed(lake: Lake, write: Write) -> None:
    rows = complaints(40)
    load_files(lake.settings, [write("all.csv", rows)], lambda *_: None)
    made = lake.read(COMPLAINTS).where("complaint_id = 5").withColumn("is_synthetic", F.lit(col=True))
    lake.append(made.withColumn("complaint_id", F.lit(500).cast("bigint")), COMPLAINTS, "test:0")
    older = {number: row for number, row in rows.items() if number < 30 and number != 3}
    older[9] |= {"Date received": "2090-01-01"}  # refused, so it says nothing about the export's day
    assert counts(load(lake.settings, write("older.csv", older))) == (28, 0, 1, 0, 27, 1, 0)
    assert [number for number, *_ in events(lake)] == [3]


def test_a_file_that_was_loaded_before_is_compared_as_a_full_export(lake: Lake, write: Write) -> None:
    load_files(lake.settings, [write("first.csv", complaints(40))], lambda *_: None)
    rows = {number: row for number, row in complaints(40).items() if number != 20}
    path = write("second.csv", rows)
    load_files(lake.settings, [path], lambda *_: None)
    before = lake.read(BRONZE).count()
    assert counts(load(lake.settings, path)) == (39, 0, 0, 0, 39, 1, 0)
    assert lake.read(BRONZE).count() == before
    assert load(lake.settings, path)["files"]["second.csv"]["known"]


@pytest.mark.parametrize("where", ["rows", "withdrawals"])
def test_a_killed_load_is_completed_by_the_next(
    lake: Lake, write: Write, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rows = complaints(50)
    load(lake.settings, write("day1.csv", rows))
    del rows[4]
    rows |= {number: row for number, row in complaints(60).items() if number > 50}
    path = write("day2.csv", rows)

    def killed(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        owner, name = (FullExport, "record") if where == "rows" else (landing, "_record_load")
        patch.setattr(owner, name, killed)
        with pytest.raises(InterruptedError):
            load_full_export(lake.settings, path, lambda *_: None)
    result: LoadResult = load_full_export(lake.settings, path, lambda *_: None)
    assert counts(result.as_json())[:5] == (59, 0, 0, 0, 59), "the start refined what was landed"
    assert events(lake) == [(4, "withdrawn", "day2.csv")]
    assert lake.read(BRONZE).count() == lake.read(COMPLAINTS).count() == 60
    assert {row.file: row["rows"] - row.unchanged for row in lake.read(FILES).collect()} == {
        "day1.csv": 50,
        "day2.csv": 10,
    }
