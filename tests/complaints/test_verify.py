"""`complaints verify` says in words and as JSON what holds, and its exit code is 0 only if all does."""

import json
from pathlib import Path

from bronze.tables import FILES
from tests.conftest import Trained, copy_of
from tests.stewardship.verification.test_verify import rewrite

from .conftest import Run


def test_a_whole_lake_is_a_success_and_what_was_not_checked_is_told(run: Run, trained: Trained) -> None:
    root = trained.lake.settings.folder
    answer = run("--root", root, "verify")
    assert answer.code == 0
    head, *lines = answer.out.splitlines()
    assert head.split() == ["invariant", "counted", "broken", "under", "way"]
    assert " ".join(lines[1].split()) == "each row of bronze is there once 445 0 0"
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "Not checked: this lake has no broker" in answer.out
    assert lines[-1].startswith("0 lost, 0 twice; 2 invariants not checked; ")
    found = json.loads(run("--root", root, "verify", "--json").out)
    assert found["holds"] is True
    assert found["invariants"]["gold"]["apart"] == {"under way": 445}


def test_a_broken_one_is_none_and_names_what_breaks_it(run: Run, trained: Trained, tmp_path: Path) -> None:
    settings = copy_of(trained, tmp_path / "lake").settings
    rewrite(settings, FILES, 'SELECT * REPLACE ("rows" + 1 AS "rows") FROM before')
    answer = run("--root", settings.folder, "verify")
    assert answer.code == 1
    assert "each loaded file's rows are in bronze:\n    BROKEN: 2 lost: " in answer.out
    assert answer.out.splitlines()[-1].startswith("1 of 13 invariants are BROKEN; ")
    found = json.loads(run("--root", settings.folder, "verify", "--json").out)
    assert (found["holds"], found["invariants"]["files"]["broken"]) == (False, {"lost": 2})


def test_a_folder_without_a_lake_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path, "verify")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Error: There are no tables in {tmp_path} yet: run `complaints load` first.\n"
