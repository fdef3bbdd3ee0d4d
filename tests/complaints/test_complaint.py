"""`complaints trace` and `erase` show and erase one complaint, as text and as JSON; errors are one sentence."""

import io
import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import load_settings
from streaming.batch.load import load_files

from .conftest import Run

WORDS = "Zanzibar lent me a harpsichord"


@pytest.fixture(scope="module")
def root(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two loaded complaints, and a quarantined row of the first."""
    folder = tmp_path_factory.mktemp("complaint")
    (folder / "rows.csv").write_text(
        "Complaint ID,Date received,Product,Issue,Company,Consumer complaint narrative\n"
        f"71,2024-01-01,Mortgage,Trouble,ACME,{WORDS}\n"
        "72,2024-01-02,Mortgage,Trouble,ACME,They charged me twice\n"
        f"71,soon,Mortgage,Trouble,ACME,{WORDS}\n"
    )
    assert spark is not None
    settings = load_settings(root=folder / "lake")
    assert load_files(settings, [folder / "rows.csv"], lambda *_: None).as_json()["silver"] == 2
    return settings.folder


def test_trace_shows_each_step_without_the_complaints_text(run: Run, root: Path) -> None:
    answer = run("--root", root, "trace", "71")
    assert answer.code == 0
    head, *lines = answer.out.splitlines()
    assert head.split() == ["step", "at", "record_id", "what"]
    assert [line.split()[0] for line in lines] == ["bronze", "bronze", "silver", "quarantine"]
    assert "rows.csv:2" in lines[0]
    assert "date_received_unreadable" in answer.out
    assert WORDS not in answer.out
    found = json.loads(run("--root", root, "trace", "71", "--json").out)
    assert found.keys() == {"complaint_id", "steps", "note"}
    assert {step["step"] for step in found["steps"]} == {"bronze", "silver", "quarantine"}


def test_an_invalid_or_unknown_complaint_number_is_an_error(run: Run, root: Path) -> None:
    for command in (("trace", "73"), ("erase", "--complaint-id", "73", "--yes")):
        answer = run("--root", root, *command)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == f"Error: There is no complaint 73 in {root}, nor in its quarantine.\n"
    assert run("--root", root, "trace", "seventy").code == 2


def test_an_erasure_asks_first_and_reports_the_erased_rows(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    unanswered = run("--root", root, "erase", "--complaint-id", "71")
    assert (unanswered.code, unanswered.out) == (130, "")
    assert "Permanently erase the complaint 71, received in 2 rows?" in unanswered.err
    assert run("--root", root, "trace", "71").code == 0

    answer = run("--root", root, "erase", "--complaint-id", "71", "--yes", "--json")
    done = json.loads(answer.out)
    erased = {name: rows for name, rows in done["rows"].items() if rows}
    assert erased == {"bronze.complaints": 2, "silver.complaints": 1, "silver.quarantine": 1}
    assert (done["complaint_id"], done["tombstone"]) == (71, False)
    again = run("--root", root, "erase", "--complaint-id", "71", "--yes")
    assert again.code == 1
    assert again.err.startswith("Error: The complaint 71 was erased on 20")
    assert run("--root", root, "trace", "72").code == 0
