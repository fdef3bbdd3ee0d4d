"""`complaints verify` reports each invariant as text and as JSON, and exits with 0 only if all hold."""

import json
from pathlib import Path

from bronze.tables import FILES
from tests.conftest import Trained, copy_of
from tests.stewardship.verification.breakage import rewrite

from .conftest import Run


def test_an_intact_lake_succeeds_and_unchecked_invariants_are_reported(run: Run, trained: Trained) -> None:
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


def test_a_broken_lake_fails_and_names_the_broken_invariant(run: Run, trained: Trained, tmp_path: Path) -> None:
    settings = copy_of(trained, tmp_path / "lake").settings
    rewrite(settings, FILES, 'SELECT * REPLACE ("rows" + 1 AS "rows") FROM before')
    answer = run("--root", settings.folder, "verify")
    assert answer.code == 1
    assert "each loaded file's rows are in bronze:\n    BROKEN: 2 lost: " in answer.out
    assert answer.out.splitlines()[-1].startswith("1 of 16 invariants are BROKEN; ")
    found = json.loads(run("--root", settings.folder, "verify", "--json").out)
    assert (found["holds"], found["invariants"]["files"]["broken"]) == (False, {"lost": 2})


def test_a_folder_without_a_lake_is_an_error(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path, "verify")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Error: There are no tables in {tmp_path} yet: run `complaints load` first.\n"
