"""The operations behind the Superset commands: install, configure, start, stop, query.

Reads and writes `<root>/superset`: the secret key, Superset's metadata and caches, the description of the views, the
log. Whatever is missing or incomplete is created when the server starts.
"""

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards.assets import Assets
from dashboards.environment import SupersetEnvironment
from dashboards.export import files_from
from dashboards.process import BackgroundProcess
from dashboards.views import described
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table

SERVER = Path(__file__).resolve().parent / "server"
GUARD = SERVER.parents[1] / "lakehouse" / "guard"
ACCOUNTS = ("admin", "operator", "analyst")
START_SECONDS = 60.0
WORKERS = 2
THREADS = 32  # per worker: more than one account can occupy with its queries (settings `sql`)

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """The state of Superset: installed, configured as the files say, running, healthy; and where."""

    installed: bool
    configured: bool
    running: bool
    healthy: bool
    url: str
    pid: int | None
    log: Path


class Superset:
    """Superset over one lake.

    Args:
        settings: where the lake is, and the server's address.
        tables: the table catalog.
        notify: called with a sentence about each step.
    """

    def __init__(self, settings: Settings, tables: Sequence[Table], notify: Notify = lambda _: None) -> None:
        self._settings = settings
        self._tables = tables
        self._notify = notify
        self.environment = SupersetEnvironment()
        self.home = settings.folder / "superset"
        self.log = self.home / "server.log"
        self._stamp = self.home / "configured"
        self._process = BackgroundProcess(self.home)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{self._settings.superset.host}:{self._settings.superset.port}"

    def status(self) -> Status:
        """The current state."""
        running = self._process.is_running()
        return Status(
            installed=self.environment.is_ready,
            configured=self._is_configured(),
            running=running,
            healthy=running and self._answers(),
            url=self.url,
            pid=self._process.pid if running else None,
            log=self.log,
        )

    def configure(self) -> dict[str, str]:
        """Update metadata, roles and dashboards from the files.

        Returns:
            The passwords of new accounts, by name; they are stored nowhere else.

        Raises:
            ComplaintsError: a file is wrong, or Superset rejects one.
        """
        assets = self._assets()
        self._need_environment()
        self.home.mkdir(parents=True, exist_ok=True)
        self._keep_secret_key()
        self._describe_views()
        self._notify("Configuring Superset: its metadata, roles, accounts and dashboards.")
        passwords = {name: secrets.token_urlsafe(12) for name in ACCOUNTS}
        done = self.ask({"do": "configure", "assets": assets, "accounts": passwords})
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        self._stamp.write_text(self._fingerprint())
        return {name: passwords[name] for name in done["made"]}

    def start(self) -> dict[str, str]:
        """Start the server, after installing and configuring what is missing.

        Returns:
            The passwords of new accounts.

        Raises:
            ComplaintsError: the port is taken, or the server does not come up; says why.
        """
        if self._process.is_running():
            if self._answers():
                return {}
            self.stop()
        self._refuse_taken_port()
        self.environment.make()
        passwords = {} if self._is_configured() else self.configure()
        self._describe_views()
        self._launch()
        return passwords

    def stop(self) -> bool:
        """Stop the server; returns whether one was running."""
        return self._process.stop()

    def set_password(self, name: str, password: str) -> None:
        """Set an account's password.

        Raises:
            ComplaintsError: there is no such account.
        """
        self._need_environment()
        if self.ask({"do": "password", "accounts": {name: password}})["unknown"]:
            msg = f"There is no account '{name}'; there are {', '.join(ACCOUNTS)}."
            raise ComplaintsError(msg)

    def export(self) -> list[Path]:
        """Write changes made in the browser back to the files; returns the changed files."""
        self._need_environment()
        exported = self.ask({"do": "export"})["assets"]
        changed = []
        for path, text in files_from(Assets(), self._tables, exported).items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                changed.append(path)
        return changed

    def snapshot(self, slug: str, file: Path, account: str, password: str) -> float:
        """Save a dashboard, as an account sees it, as a picture (.png) or a document (.pdf).

        Returns:
            Seconds that a browser with an empty cache took to open it, from the request to the last chart.

        Raises:
            ComplaintsError: no such dashboard, Superset isn't running, the browser is missing, or a chart failed.
        """
        boards = {board.content["slug"]: len(Assets().charts_of(board)) for board in Assets().dashboards}
        if slug not in boards:
            msg = f"There is no dashboard '{slug}'; there are {', '.join(boards)}."
            raise ComplaintsError(msg)
        if not self._answers():
            msg = "Superset does not run: `complaints superset start` starts it."
            raise ComplaintsError(msg)
        asked = {"url": self.url, "account": account, "password": password}
        answer = self.ask({**asked, "slug": slug, "charts": boards[slug], "file": str(file.absolute())}, "browser")
        if "error" in answer:
            raise ComplaintsError(answer["error"])
        if failed := [name for name, state in answer["shown"].items() if state.startswith("error")]:
            msg = f"{file} was written, but these charts failed: {', '.join(failed)}."
            raise ComplaintsError(msg)
        return float(answer["seconds"])

    def ask(self, asked: Mapping[str, Any], module: str = "provision") -> dict[str, Any]:
        """Run a module of `server/` in Superset's Python with this request, and return its answer.

        Raises:
            ComplaintsError: it failed; includes the last line of Superset's output.
        """
        command = [str(self.environment.python), "-m", module]
        done = subprocess.run(
            command, input=json.dumps(asked), env=self._variables(), capture_output=True, text=True, check=False
        )
        log = self.home / f"{module}.log"
        log.write_text(done.stderr)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            msg = f"Superset could not do it: {said} (its whole output is in {log})."
            raise ComplaintsError(msg)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def _assets(self) -> dict[str, str]:
        warehouse = self._settings.superset.warehouse
        return Assets().for_import(self._tables, warehouse.get_secret_value() if warehouse else None)

    def _need_environment(self) -> None:
        if not self.environment.is_ready:
            msg = "Superset is not installed, or only half: run `complaints superset install`."
            raise ComplaintsError(msg)

    def _is_configured(self) -> bool:
        return self._stamp.is_file() and self._stamp.read_text() == self._fingerprint()

    def _fingerprint(self) -> str:
        """A digest of everything that `configure` writes into Superset's metadata."""
        parts = [path.read_bytes() for path in sorted((SERVER.parent / "assets").rglob("*.yaml"))]
        parts += [path.read_bytes() for path in sorted(SERVER.glob("*.py"))]
        for setting in (self._settings.superset.metadata, self._settings.superset.warehouse):
            parts.append((setting.get_secret_value() if setting else "").encode())
        parts.append(self.environment.lock.read_bytes())
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def _keep_secret_key(self) -> None:
        path = self.home / "secret_key"
        if not path.is_file():
            unfinished = self.home / "secret_key.new"
            unfinished.touch(mode=0o600)
            unfinished.write_text(secrets.token_urlsafe(48))
            unfinished.rename(path)

    def _describe_views(self) -> None:
        unfinished = self.home / "views.json.new"
        unfinished.write_text(json.dumps(described(self._settings, self._tables)))
        unfinished.rename(self.home / "views.json")

    def _variables(self) -> dict[str, str]:
        """The server's environment variables: ours without our settings, so that no other secret reaches it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPLAINTS_", "PYTHON"))}
        metadata = self._settings.superset.metadata
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join((str(SERVER), str(GUARD))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SUPERSET_HOME": str(self.home),
            "SCARF_ANALYTICS": "false",
            "TZ": "UTC",
            "LAKE_SUPERSET_HOME": str(self.home),
            "LAKE_SUPERSET_HTTPS": "1" if self._settings.superset.https else "0",
            **({"LAKE_SUPERSET_METADATA": metadata.get_secret_value()} if metadata else {}),
        }

    def _launch(self) -> None:
        self._notify("Starting Superset.")
        host, port = self._settings.superset.host, self._settings.superset.port
        command = [str(self.environment.venv / "bin" / "gunicorn"), "--no-control-socket", "--timeout", "120"]
        command += ["--worker-class", "gthread", "--workers", str(WORKERS), "--threads", str(THREADS)]
        command += [
            "--config",
            "python:gunicorn_conf",
            "--preload",
            "--bind",
            f"{host}:{port}",
            "superset.app:create_app()",
        ]
        for name in ("spill", "tmp"):  # leftovers of a server that was killed
            shutil.rmtree(self.home / name, ignore_errors=True)
            (self.home / name).mkdir()
        variables = {**self._variables(), "TMPDIR": str(self.home / "tmp")}
        server = self._process.launch(command, variables, self.log)
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if server.poll() is not None or time.monotonic() > end:
                self.stop()
                said = (self.log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
                msg = f"Superset did not come up: {said} (its log is {self.log})."
                raise ComplaintsError(msg)
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - our own http
                return bool(answer.status == 200)  # noqa: PLR2004
        except (urllib.error.URLError, OSError):
            return False

    def _refuse_taken_port(self) -> None:
        host, port = self._settings.superset.host, self._settings.superset.port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                msg = (
                    f"Superset can't listen on {host}:{port} ({error.strerror}): end what uses the port, or choose "
                    "another with COMPLAINTS_SUPERSET__PORT."
                )
                raise ComplaintsError(msg) from error
