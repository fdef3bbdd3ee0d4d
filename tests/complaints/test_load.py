"""`complaints load` reads what people's tools write, and says what it left out or could not use."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bronze.files import SUFFIXES
from bronze.load import LandedFile
from complaints import load as command
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS, QUARANTINE
from streaming.batch.load import LoadResult

from .conftest import Run

TITLES = "Complaint ID,Date received,Product,Issue,Company name,ZIP code,State,Complaint Text"


def row(number: str, text: str = "paid", delimiter: str = ",") -> str:
    cells = (number, "2023-05-01", "Mortgage", "Trouble", "Imaginary Savings Bank", "33009.0", "FL", text)
    return delimiter.join(cells) + "\n"


def files_in(folder: Path) -> None:
    header = TITLES + "\n"
    lists = json.dumps(
        {"count": 1, "data": [{"complaint_id": 6, "date_received": "2023-05-01", "product": "x", "y": 1}]}
    )
    contents = {
        "EXPORT.CSV": header + row("1.0"),
        "semicolons.csv": header.replace(",", ";") + row("2", '"twice; so far"', ";"),
        "spark.csv": header + row("3", '"He wrote \\"final\\", then left"'),
        "excel.csv": f"{TITLES},Notes\n" + row("4").replace("\n", ",n\n") + row("5") + row("51").replace("\n", ",n\n"),
        "wrapped.json": lists,
        "notes.txt": "x",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "latin.csv").write_bytes((header + row("7", "caf\u00e9")).encode("cp1252"))
    (folder / "many.csv").write_text(header + row("8", "one,two"), encoding="utf-8")
    (folder / "followed.csv.gz").write_bytes(gzip.compress((header + row("9")).encode()) + b"garbage")
    with zipfile.ZipFile(folder / "mac.zip", "w") as archive:
        archive.writestr("complaints.csv", header + row("10"))
        archive.writestr("._complaints.csv", b"\0\5\x16\7")


def test_files_of_many_tools_become_complaints(spark: SparkSession, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    files_in(folder)
    answer = run("--root", tmp_path / "lake", "load", folder, "--json")
    result = json.loads(answer.out)
    assert (answer.code, result["rows"], result["silver"], result["quarantined"]) == (0, 11, 9, 2)
    assert result["skipped"] == [str(folder / "notes.txt")]
    assert {name: file["unknown_columns"] for name, file in result["files"].items() if file["unknown_columns"]} == {
        "excel.csv": ["Notes"],
        "wrapped.json": ["y"],
    }
    assert [name for name, file in result["files"].items() if file["warnings"]] == ["followed.csv.gz"]
    lake = Lake(spark, load_settings(root=tmp_path / "lake"))
    complaints = {found.complaint_id: found for found in lake.read(COMPLAINTS).collect()}
    assert sorted(complaints) == [1, 2, 3, 4, 5, 6, 9, 10, 51]
    assert complaints[3].narrative == 'He wrote "final", then left'
    assert (complaints[1].company, complaints[1].zip_code) == ("Imaginary Savings Bank", "33009")
    reasons = {found.file: found.reasons for found in lake.read(QUARANTINE).collect()}
    assert reasons == {"latin.csv": ["not_utf8"], "many.csv": ["csv_row_broken"]}


def test_what_was_left_out_is_said_on_standard_error(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LandedFile(
        tmp_path / "a.csv", "f" * 64, 1, is_known=False, unknown_columns=("Notes", "Score"), warnings=("W.",)
    )
    result = LoadResult((file,), None, (), (tmp_path / "b.csv",), (tmp_path / "c.txt",), 1.0)
    monkeypatch.setattr(command, "load_with_progress", lambda *_: result)
    answer = run("--root", tmp_path, "load", tmp_path)
    assert answer.code == 0
    assert answer.err.splitlines() == [
        "W.",
        "a.csv has columns that are no known field, kept in bronze.complaints only: 'Notes', 'Score'.",
        f"Skipped {tmp_path / 'c.txt'}: its name ends in none of {', '.join(SUFFIXES)}; name the file to load it.",
        "b.csv is still being written: the next load reads it.",
    ]
