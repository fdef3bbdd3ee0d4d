"""Create ``.venv`` with the locked packages, the project and the jars; also other environments from their own locks.

``make setup`` runs this before anything is installed, so it uses only the standard library, and only syntax that older
Python versions can parse: on those the user must get a sentence, not a traceback.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import time
import traceback
import typing
from pathlib import Path

PYTHON = (3, 11)
NEEDED_BYTES = 4 * 1024**3
PROJECT = Path(__file__).resolve().parents[2]
# uv does not read pip's configuration. These of pip's settings say how the package index is reached.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
}


class SetupError(Exception):
    """Raised when setup fails, with one sentence that says what to do."""


class Environment:
    """A virtual environment with exactly the packages of a lock file.

    Args:
        project: the project's folder.
        folder: name of the environment's folder in the project.
        lock: path of the lock file in the project.
        command: the command to run again after a failure.
    """

    decided_by: typing.Tuple[str, ...] = ()  # noqa: UP006 - other files that affect what is installed

    def __init__(self, project: Path, folder: str, lock: str, command: str) -> None:
        self.project = project
        self.command = command
        self.venv = project / folder
        self.python = self.venv / "bin" / "python"
        self.lock = project / lock
        self.stamp = self.venv / "setup.stamp"
        self.unfinished = self.venv / "unfinished"
        self.log = self.venv / "install.log"
        self.started = time.monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether everything in the lock file is installed."""
        return self.python.exists() and self.stamp.is_file() and self.stamp.read_text() == self.fingerprint()

    def install(self) -> None:
        """Install what has changed since the last run.

        Raises:
            SetupError: the installation failed.
        """
        stamp = self.fingerprint()
        if not self.is_ready:
            check_disk(self.project, self.command)
            self.make_venv()
            self.unfinished.touch()
            self.install_packages()
            self.unfinished.unlink()
            self.stamp.write_text(stamp)

    def say(self, what: str) -> None:
        """Print a progress line with the seconds since the start."""
        print(f"{self.command.split()[-1]}: {what} ({time.monotonic() - self.started:.1f} s)", flush=True)

    def fingerprint(self) -> str:
        """Return a digest of everything that affects what is installed."""
        digest = hashlib.sha256(os.path.realpath(sys.executable).encode())
        digest.update(str(self.project).encode())
        for name in (str(self.lock.relative_to(self.project)), *self.decided_by):
            file = self.project / name
            if not file.is_file():
                msg = f"{file} is missing: restore it from version control."
                raise SetupError(msg)
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def make_venv(self) -> None:
        """Create the environment; from scratch if an install was interrupted or its Python is gone or different."""
        # Created on top of another Python's environment, it would mix that executable with these libraries.
        same = os.path.realpath(self.python) == os.path.realpath(sys.executable)
        usable = self.python.exists() and same and not self.unfinished.exists()
        self.say("virtual environment")
        command = [sys.executable, "-m", "venv", str(self.venv), *([] if usable else ["--clear"])]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no output"])[-1]
            msg = f"{self.venv} could not be created ({last}): install Python's venv module (Debian: python3.11-venv)."
            raise SetupError(msg)

    def install_packages(self) -> None:
        """Install the locked packages, each checked against its hashes; packages that are not in the lock go."""
        # Source packages are built with tools from the lock file too, not with the latest versions.
        tools = self.venv / "build-tools.lock"
        tools.write_text(entries(self.lock.read_text(encoding="utf-8"), "setuptools", "wheel", "packaging"))
        self.uv("install", "--require-hashes", "--requirement", str(tools))
        self.uv("sync", "--require-hashes", str(self.lock))

    @property
    def installer(self) -> Path:
        """The Python that has uv and pip."""
        return Path(sys.executable)

    def uv(self, *what: str) -> None:
        """Run ``uv pip`` for this environment."""
        command = [str(self.installer), "-m", "uv", "--no-config", "--no-progress", "--system-certs", "pip", *what]
        # As with pip, any index may have a package; the hashes in the lock decide whether it is the right one.
        options = ["--python", str(self.python), "--no-build-isolation", "--index-strategy", "unsafe-best-match"]
        self.logged([*command, *options], env=uv_environment(os.environ, pip_settings(self.installer)))

    def logged(self, command: typing.List[str], env: typing.Optional[typing.Dict[str, str]] = None) -> None:  # noqa: UP006, UP045
        """Run a command with its output in the log and report the packages; raises SetupError if it fails."""
        with (
            self.log.open("a", encoding="utf-8", errors="replace") as log,
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            ) as running,
        ):
            downloaded = 0
            for line in running.stdout or ():
                log.write(line)
                log.flush()
                downloaded += line.startswith(" Downloaded ")  # uv names only the large ones
                if line.startswith(" Downloaded ") and downloaded % 10 == 0:
                    self.say(f"{downloaded} large packages downloaded")
                elif line.startswith(("   Building ", "Prepared ")):
                    self.say(line.strip().split(" in ")[0].split(" @ ")[0].lower())
        if running.returncode:
            raise SetupError(explain(self.log.read_text(encoding="utf-8"), self.log, self.lock, self.command))


class Setup(Environment):
    """The setup of one project folder.

    Args:
        project: the folder with requirements.lock, pyproject.toml and jars.lock; ``.venv`` is created in it.
    """

    decided_by = ("pyproject.toml", "jars.lock")

    def __init__(self, project: Path) -> None:
        Environment.__init__(self, project, ".venv", "requirements.lock", "make setup")

    def run(self) -> None:
        """Install what has changed since the last run, then fetch the jars.

        Raises:
            SetupError: the installation failed.
        """
        self.install()
        self.say("jars")
        if subprocess.run(
            [str(self.python), "-m", "lakehouse.setup.jars"], cwd=str(self.project), check=False
        ).returncode:
            msg = "Setup stopped at the jars."
            raise SetupError(msg)
        self.say("ready")

    @property
    def installer(self) -> Path:
        """The environment's own Python: uv is among its packages."""
        return self.python

    def install_packages(self) -> None:
        """Install uv with pip, all locked packages with uv, and the project as an editable package."""
        uv = self.venv / "uv.lock"
        uv.write_text(entries(self.lock.read_text(encoding="utf-8"), "uv"))
        self.log.write_text("")
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        self.logged([*pip, "--require-hashes", "--requirement", str(uv)])
        Environment.install_packages(self)
        self.uv("install", "--no-deps", "--editable", str(self.project))


def check_python(major: int, minor: int) -> None:
    """Raise SetupError unless this is the Python version of the lock files."""
    if (major, minor) != PYTHON:
        msg = (
            f"Python 3.11 is needed and this is {major}.{minor}: install Python 3.11 and run "
            "`make setup PYTHON=/path/to/python3.11`."
        )
        raise SetupError(msg)


def check_disk(folder: Path, command: str = "make setup") -> None:
    """Raise SetupError unless the disk of ``folder`` has room for the packages and jars."""
    free = shutil.disk_usage(str(folder)).free
    if free < NEEDED_BYTES:
        msg = f"{folder} has {free / 1024**3:.1f} GB free and 4 GB are needed: make room and run `{command}` again."
        raise SetupError(msg)


def entries(lock: str, *names: str) -> str:
    """Return the lines of a lock file for the named packages: each pin and its indented hashes."""
    kept = []
    inside = False
    for line in lock.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            inside = line.split("==")[0].strip() in names
        if inside:
            kept.append(line)
    return "".join(kept)


def pip_settings(python: Path) -> typing.Dict[str, str]:  # noqa: UP006
    """Return pip's settings from its files and variables: ``{"index-url": "https://..."}``."""
    command = [str(python), "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {}
    for section in ("global.", "install.", ":env:."):  # a later one overrides an earlier one
        for line in done.stdout.splitlines():
            name, separator, value = line.partition("=")
            if separator and name.startswith(section):
                found[name[len(section) :]] = str(ast.literal_eval(value))
    return found


def uv_environment(
    environment: typing.Mapping[str, str],
    settings: typing.Mapping[str, str],
) -> typing.Dict[str, str]:  # noqa: UP006
    """Return the variables for uv: the given ones, and pip's settings where uv has none of its own."""
    names = {UV_VARIABLES[name]: value for name, value in settings.items() if name in UV_VARIABLES}
    if "UV_FIND_LINKS" in names:
        names["UV_FIND_LINKS"] = ",".join(names["UV_FIND_LINKS"].split())
    return {**names, **environment}


def explain(output: str, log: Path, lock: Path, command: str) -> str:
    """Return the error message for a failed installation, based on its output."""
    if "No space left on device" in output:
        return f"The disk is full: make room and run `{command}` again (details in {log})."
    if "DO NOT MATCH THE HASHES" in output or "Hash mismatch" in output:
        return f"A package does not match {lock.name}: do not trust it, and see {log} for which one."
    if "Retrying (" in output or "error sending request" in output:
        return f"The package index can't be reached: check the network and run `{command}` again (details in {log})."
    return f"The packages could not be installed: see the end of {log} for why, fix it and run `{command}` again."


def main() -> int:
    """Set the project up; return the exit code."""
    try:
        check_python(*sys.version_info[:2])
        Setup(PROJECT).run()
    except (SetupError, OSError) as error:
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: run `make setup` again to continue.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
