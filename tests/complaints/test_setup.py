"""`complaints setup` uses what it checks, reports each problem with its remedy, and leaves nothing behind."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from complaints import machine_checks as checks
from complaints.machine_checks import folder
from lakehouse.checks import Check, run_checks
from lakehouse.errors import ComplaintsError

from .conftest import Run

NAMES = ("java", "jars", "folder")  # the others depend on these


def test_every_check_passes_and_json_is_the_only_output(tmp_path: Path) -> None:
    """In a process of its own: the output of Spark and MLflow must not reach standard output."""
    complaints = Path(sys.executable).with_name("complaints")
    command = [str(complaints), "--root", str(tmp_path / "lake"), "setup", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    found = {check["what"]: check for check in answer["checks"]}
    assert answer["ok"], answer
    assert done.returncode == 0
    assert found.keys() == {"python", "java", "jars", "folder", "spark", "broker", "registry"}
    assert all(check["ok"] and check["seconds"] >= 0 for check in answer["checks"])
    assert "17." in found["java"]["detail"]
    assert "a Delta table written and read" in found["spark"]["detail"]
    assert "a message there and back" in found["broker"]["detail"]
    assert found["registry"]["detail"] == "opened; no champion yet: complaints train"
    assert not list((tmp_path / "lake").glob("check-*"))


def test_each_problem_is_reported_with_its_remedy_and_the_exit_code_is_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(checks, "PYTHON", (3, 10))
    answer = run("--root", tmp_path / "file", "setup")
    assert answer.code == 1
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert "problem" in lines["python"]
    assert "run `make setup PYTHON=/path/to/python3.11`" in lines["python"]
    assert "can't be written to (File exists): choose another folder with COMPLAINTS_ROOT or --root." in lines["folder"]
    for dependent in ("spark", "broker", "registry"):
        assert lines[dependent].split()[1] == "problem"
        assert lines[dependent].endswith("not checked: see folder")
    assert " ok " in lines["java"]


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "NEEDED_BYTES", 1 << 60)
    with pytest.raises(ComplaintsError, match="GB free and 2 GB are needed: make room"):
        folder(tmp_path)


def test_the_folder_check_leaves_no_files(tmp_path: Path) -> None:
    assert "can be written to" in folder(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_independent_checks_run_in_parallel_and_dependent_ones_wait() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet() -> str:
        both.wait()
        return "met"

    def fail() -> str:
        msg = "not today"
        raise ComplaintsError(msg)

    def crash() -> str:
        msg = "odd\ndetails"
        raise RuntimeError(msg)

    run = [Check("a", meet), Check("b", meet), Check("c", fail), Check("d", crash)]
    run += [Check("after a", lambda: "yes", ("a",)), Check("after c", meet, ("a", "c"))]
    found = {finding.what: finding for finding in run_checks(reversed(run))}
    assert {name: f.is_ok for name, f in found.items()} == {
        "a": True, "b": True, "c": False, "d": False, "after a": True, "after c": False,
    }  # fmt: skip
    assert found["c"].detail == "not today"
    assert found["d"].detail == "It failed unexpectedly (RuntimeError: odd): see `complaints --debug setup`."
    assert isinstance(found["d"].error, RuntimeError)
    assert found["after c"].detail == "not checked: see c"


def test_debug_shows_the_traceback_of_a_failed_check(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(checks, "machine_checks", lambda _: [Check(name, broken) for name in NAMES])
    assert "Traceback" not in run("--root", tmp_path, "setup").err
    answer = run("--root", tmp_path, "--debug", "setup")
    assert answer.code == 1
    assert answer.err.count("Traceback") == len(NAMES)


def test_show_prints_every_setting_with_its_source_and_checks_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COMPLAINTS_KAFKA__PASSWORD", "hunter2")
    root = tmp_path / "not made"
    lines = run("--root", root, "setup", "--show").out.splitlines()
    assert lines[0].split() == ["setting", "value", "from"]
    shown = {line.split()[0]: line.split() for line in lines[1:]}
    assert shown["root"][-1] == "option"
    assert shown["kafka.password"] == ["kafka.password", "**********", "environment", "variable"]
    assert shown["kafka.predictions.compacted"][1] == "true"
    assert " ".join(shown["ml.grid.regularisation"][1:-1]) == "[0.0003, 0.001, 0.003]"
    assert shown["spark.cores"] == ["spark.cores", "2", "conf/settings.yaml"]
    answer = run("--root", root, "setup", "--show", "--json")
    rows = json.loads(answer.out)["settings"]
    assert {"key": "root", "value": str(root), "source": "option"} in rows
    assert len(rows) == len(lines) - 1
    assert "hunter2" not in answer.out
    assert not root.exists()
