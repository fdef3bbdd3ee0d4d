"""`complaints quarantine` lists quarantined rows and replays fixed ones, as text and as JSON."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings, load_settings
from streaming.batch.load import load_files

from .conftest import Run


@pytest.fixture(scope="module")
def refused(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with two quarantined rows; the payload of one holds a terminal control sequence."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "rows.csv").write_text(
        "Complaint ID,Date received,Product,Issue,Company\n"
        "1,2009-01-01,Mortgage,Trouble,ACME\n"
        "x,2024-01-01,Mortgage,\x1b[31m[red]Trouble,ACME\n"
    )
    settings = load_settings(root=folder / "lake")
    assert spark is not None
    assert load_files(settings, [folder / "rows.csv"], lambda *_: None).as_json()["quarantined"] == 2
    return settings


def test_rows_are_listed_as_text(run: Run, refused: Settings) -> None:
    answer = run("--root", refused.folder, "quarantine", "list")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].split() == ["record_id", "reasons", "from", "payload"]
    assert "date_received_before_2011" in answer.out
    assert "rows.csv:2" in answer.out
    assert lines[-1].split() == ["2", "rows", "in", "total"]
    assert "\x1b" not in answer.out


def test_reason_filters_rows_and_json_is_the_only_output(run: Run, refused: Settings) -> None:
    answer = run("--root", refused.folder, "quarantine", "list", "--reason", "complaint_id_not_numeric", "--json")
    found = json.loads(answer.out)
    assert found.keys() == {"waiting", "reasons", "rows"}
    assert (found["waiting"], len(found["rows"])) == (2, 1)
    assert json.loads(found["rows"][0]["payload"])["Complaint ID"] == "x"
    unknown = run("--root", refused.folder, "quarantine", "list", "--reason", "no_such")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("Error: There is no reason 'no_such'.")


def test_exported_and_fixed_rows_are_replayed(run: Run, refused: Settings, tmp_path: Path) -> None:
    lake = ("--root", refused.folder, "quarantine")
    file = tmp_path / "fixed.jsonl"
    written = run(*lake, "list", "--export", file)
    assert (written.code, written.out) == (0, "")
    assert "2 rows written to" in written.err
    file.write_text(file.read_text().replace("2009-01-01", "2019-01-01"))

    answer = run(*lake, "replay", "--from", file, "--json")
    result = json.loads(answer.out)
    assert {name: result[name] for name in ("replayed", "silver", "duplicates", "sent_before", "still_refused")} == {
        "replayed": 1, "silver": 1, "duplicates": 0, "sent_before": 0, "still_refused": 1,
    }  # fmt: skip
    assert [row["reasons"] for row in result["refused"]] == [["complaint_id_not_numeric"]]

    again = run(*lake, "replay", "--from", file)
    assert again.code == 0
    assert "complaint_id_not_numeric" in again.out.splitlines()[0]
    assert "replayed 0   silver 0   duplicates 0   still_refused 1" in again.out
    assert "1 of the rows in" in again.out


def test_a_reason_and_a_file_exclude_each_other(run: Run, refused: Settings, tmp_path: Path) -> None:
    answer = run("--root", refused.folder, "quarantine", "replay", "--reason", "not_json", "--from", tmp_path / "x")
    assert (answer.code, answer.out) == (2, "")
    assert "--reason and --from exclude each other" in answer.err


def test_with_nothing_to_replay_spark_is_not_started(
    run: Run, refused: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stewardship.replay.open_lake", lambda *_: pytest.fail("Spark was started"))
    (tmp_path / "nothing.jsonl").write_text("")
    for words in (("--reason", "not_json"), ("--from", tmp_path / "nothing.jsonl")):
        answer = run("--root", refused.folder, "quarantine", "replay", *words, "--json")
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)
        assert (found["replayed"], found["still_refused"], found["refused"]) == (0, 0, [])
