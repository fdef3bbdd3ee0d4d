import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.setup import install
from lakehouse.setup.install import (
    Environment,
    Setup,
    SetupError,
    check_disk,
    check_python,
    entries,
    explain,
    pip_settings,
    uv_environment,
)
from lakehouse.setup.jars import PROJECT

LOCK = """# made by a tool
setuptools==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via complaints
six==1.17.0 \\
    --hash=sha256:bb
uv==3.0 \\
    --hash=sha256:dd
wheel==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:cc
"""


class RecordingSetup(Setup):
    """A setup that only records what it would run: uv's arguments, and pip's."""

    calls: list[str]

    def uv(self, *what: str) -> None:
        self.logged([*what])

    def logged(self, command: list[str], _: dict[str, str] | None = None) -> None:
        self.calls = [*getattr(self, "calls", []), " ".join(command)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a small lock file, whose jars step creates a file."""
    for name, content in (("requirements.lock", LOCK), ("pyproject.toml", "[project]"), ("jars.lock", "")):
        (tmp_path / name).write_text(content)
    package = tmp_path / "lakehouse" / "setup"
    package.mkdir(parents=True)
    (package / "jars.py").write_text("open('jars-were-fetched', 'a').write('x')")
    return tmp_path


def _run(project: Path) -> list[str]:
    setup = RecordingSetup(project)
    setup.run()
    return getattr(setup, "calls", [])


def test_it_installs_uv_then_build_tools_then_the_lock_then_the_project(project: Path) -> None:
    uv, tools, lock, editable = _run(project)
    assert uv.startswith(f"{project / '.venv' / 'bin' / 'python'} -m pip install ")
    assert uv.endswith(f" --require-hashes --requirement {project / '.venv' / 'uv.lock'}")
    assert (project / ".venv" / "uv.lock").read_text() == entries(LOCK, "uv")
    assert tools == f"install --require-hashes --requirement {project / '.venv' / 'build-tools.lock'}"
    assert lock == f"sync --require-hashes {project / 'requirements.lock'}"
    assert editable == f"install --no-deps --editable {project}"
    assert (project / "jars-were-fetched").exists()


def test_an_unchanged_project_is_not_installed_again_but_its_jars_are_checked(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(project)
    capsys.readouterr()
    assert _run(project) == []
    assert (project / "jars-were-fetched").read_text() == "xx"
    seconds = [float(found) for found in re.findall(r"\((\d+\.\d) s\)", capsys.readouterr().out)]
    assert seconds
    assert max(seconds) < 3


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", "jars.lock"])
def test_a_change_of_a_fingerprinted_file_installs_again(project: Path, name: str) -> None:
    _run(project)
    with (project / name).open("a") as file:
        file.write("# changed\n")
    assert len(_run(project)) == 4


def test_an_interrupted_installation_starts_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(setup: Setup, *_: str) -> None:
        (setup.venv / "half-a-package").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(RecordingSetup, "logged", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _run(project)
    assert len(_run(project)) == 4
    assert not (project / ".venv" / "half-a-package").exists()


def test_an_environment_of_another_python_is_created_again(project: Path) -> None:
    _run(project)
    venv = project / ".venv"
    (venv / "of-another-python").touch()
    (venv / "setup.stamp").write_text("of another Python")
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(shutil.which("sh") or "")
    assert len(_run(project)) == 4
    assert not (venv / "of-another-python").exists()


def test_a_missing_lock_is_named(project: Path) -> None:
    (project / "requirements.lock").unlink()
    with pytest.raises(SetupError, match=r"requirements\.lock is missing"):
        _run(project)


def test_a_failure_of_the_jars_fails_the_setup(project: Path) -> None:
    (project / "lakehouse" / "setup" / "jars.py").write_text("raise SystemExit(1)")
    with pytest.raises(SetupError, match="stopped at the jars"):
        _run(project)


def test_a_failed_installation_is_one_sentence_and_its_output_is_logged(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SetupError, match="The packages could not be installed") as raised:
        Setup(project).run()
    log = project / ".venv" / "install.log"
    assert str(log) in str(raised.value)
    assert "uv==3.0" in log.read_text()


class Elsewhere(Environment):
    """An environment as Superset's, which the uv of the running environment fills."""

    def __init__(self, project: Path) -> None:
        super().__init__(project, ".elsewhere", "requirements.lock", "make elsewhere")


def test_uv_reaches_the_index_that_pip_is_configured_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    (project / "requirements.lock").write_text(
        f"six==1.17.0 --hash=sha256:{'0' * 64}\nwheel==1 --hash=sha256:{'0' * 64}\n"
    )
    with pytest.raises(SetupError, match="check the network"):
        Elsewhere(project).install()
    assert "http://127.0.0.1:9/simple" in (project / ".elsewhere" / "install.log").read_text()


def test_settings_of_pip_are_passed_to_uv_and_its_own_come_first() -> None:
    settings = {"index-url": "https://a", "find-links": "/b /c", "cert": "/d.pem", "no-cache-dir": "true"}
    assert uv_environment({"UV_DEFAULT_INDEX": "https://e", "HOME": "/f"}, settings) == {
        "UV_DEFAULT_INDEX": "https://e",
        "UV_FIND_LINKS": "/b,/c",
        "SSL_CERT_FILE": "/d.pem",
        "HOME": "/f",
    }


def test_a_variable_of_pip_comes_before_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = a\ntimeout = 5\n[install]\nindex-url = b\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert pip_settings(Path(sys.executable))["index-url"] == "b"
    monkeypatch.setenv("PIP_INDEX_URL", "c")
    found = pip_settings(Path(sys.executable))
    assert (found["index-url"], found["timeout"]) == ("c", "5")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "do not trust it"),
        ("error: Failed to download `six`\n  cause: Hash mismatch for `six==1.17.0`", "do not trust it"),
    ],
)
def test_the_sentence_depends_on_the_output(output: str, says: str) -> None:
    assert says in explain(output, Path("install.log"), Path("requirements.lock"), "make setup")


def test_another_python_version_is_refused_with_the_fix() -> None:
    with pytest.raises(SetupError, match=r"this is 3\.9: install Python 3\.11 and run `make setup PYTHON="):
        check_python(3, 9)
    check_python(3, 11)


def test_too_little_disk_space_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "NEEDED_BYTES", shutil.disk_usage(tmp_path).total * 2)
    with pytest.raises(SetupError, match="make room"):
        check_disk(tmp_path)


def test_entries_takes_a_pin_with_its_hashes_and_marker() -> None:
    assert entries(LOCK, "wheel") == "wheel==2.0 ; sys_platform != 'win32' \\\n    --hash=sha256:cc\n"
    assert entries(LOCK, "setuptools").count("--hash") == 2


def test_the_real_lock_pins_every_package_with_hashes_and_names_no_index() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    pins = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pins) > 80
    assert all(re.fullmatch(r"[a-z0-9._-]+==\S+( ; .*)? \\", line) for line in pins)
    assert "://" not in lock
    assert all(entries(lock, tool) for tool in ("setuptools", "wheel", "packaging"))


@pytest.mark.parametrize(("options", "traceback"), [([], False), (["--debug"], True)])
def test_the_traceback_is_shown_with_debug_only(project: Path, options: list[str], *, traceback: bool) -> None:
    script = project / "lakehouse" / "setup" / "install.py"
    shutil.copy(PROJECT / "lakehouse" / "setup" / "install.py", script)
    (project / "requirements.lock").unlink()
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "requirements.lock is missing" in done.stderr
    assert ("Traceback" in done.stderr) is traceback


def test_make_without_python_says_what_to_do() -> None:
    command = ["make", "-C", str(PROJECT), "setup", "PYTHON=python-that-is-not-there"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "python-that-is-not-there was not found: install Python 3.11" in done.stderr
