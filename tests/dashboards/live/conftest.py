"""Fixtures: Superset over a scored lake, started with its commands, and a browser."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from dashboards.server.browser import Browser
from lakehouse.settings import Settings, load_settings
from lakehouse.sql.query import query
from streaming.tables import TABLES
from tests.conftest import copied


@dataclass(frozen=True)
class Server:
    """A running Superset over one lake."""

    settings: Settings
    port: int
    passwords: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def value(self, statement: str) -> Any:  # noqa: ANN401
        """Return the single value of a statement, run on the lake without Superset."""
        return query(self.settings, TABLES, statement).rows[0][0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(root: Path, port: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a `complaints` command on a lake."""
    environment = {**os.environ, "COMPLAINTS_SUPERSET__PORT": str(port), **variables}
    command = [sys.executable, "-c", "from complaints import main; main()", "--root", str(root), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def started(root: Path) -> Iterator[Server]:
    """Start Superset over a lake with `complaints superset start`, and stop it at the end."""
    port = free_port()
    done = run(root, port, "superset", "start", "--json")
    assert done.returncode == 0, done.stderr
    passwords = json.loads(done.stdout.splitlines()[-1])["passwords"]
    try:
        yield Server(load_settings(root=root), port, passwords)
    finally:
        run(root, port, "superset", "stop")


@pytest.fixture(scope="session")
def server(scored_lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Superset over a lake with a few hundred scored complaints."""
    with started(copied(scored_lake, tmp_path_factory.mktemp("superset") / "lake").folder) as running:
        yield running


@pytest.fixture(scope="session")
def browser(server: Server) -> Iterator[Browser]:
    """A browser in which the analyst is logged in."""
    with Browser(server.url) as opened:
        opened.log_in("analyst", server.passwords["analyst"])
        yield opened


def _client_id() -> str:
    """Return an id for a query in SQL Lab, which has at most 11 characters."""
    return secrets.token_hex(5)


class SqlLab:
    """SQL Lab of one account, through the REST API that its page uses."""

    def __init__(self, server: Server, account: str) -> None:
        self._url = server.url
        self._session = requests.Session()
        page = self._session.get(f"{server.url}/login/", timeout=60).text
        token = re.search(r'csrf_token[^>]*value="([^"]+)"', page)
        assert token
        form = {"username": account, "password": server.passwords[account], "csrf_token": token[1]}
        self._session.post(f"{server.url}/login/", data=form, timeout=60)
        answer = self._session.get(f"{server.url}/api/v1/security/csrf_token/", timeout=60)
        self._session.headers.update({"X-CSRFToken": answer.json()["result"], "Referer": server.url})
        found = self._session.get(f"{server.url}/api/v1/database/", timeout=60).json()["result"]
        self.databases = {database["database_name"]: database["id"] for database in found}

    def get(self, path: str) -> Any:  # noqa: ANN401
        """Return the result of a GET request."""
        return self._session.get(f"{self._url}{path}", timeout=60).json()["result"]

    def post(self, path: str, body: dict[str, Any], **headers: str) -> requests.Response:
        """Send a POST request, once more if the worker was being replaced."""
        try:
            return self._session.post(f"{self._url}{path}", json=body, headers=headers, timeout=60)
        except requests.ConnectionError:  # a query crashed the worker, which is being replaced
            time.sleep(2)
            again = body | ({"client_id": _client_id()} if "client_id" in body else {})  # one id is one query
            return self._session.post(f"{self._url}{path}", json=again, headers=headers, timeout=60)

    def put(self, path: str, body: dict[str, Any]) -> int:
        """Send a PUT request; returns the status code."""
        return int(self._session.put(f"{self._url}{path}", json=body, timeout=60).status_code)

    def run(self, statement: str) -> tuple[int, str]:
        """Run a statement; returns the status code and the body of the response."""
        body = {"database_id": self.databases["lakehouse"], "sql": statement, "runAsync": False, "schema": "serving"}
        answer = self.post("/api/v1/sqllab/execute/", {**body, "client_id": _client_id()})
        return answer.status_code, answer.text

    def value(self, statement: str) -> Any:  # noqa: ANN401
        """Return the single value of a statement."""
        status, text = self.run(statement)
        assert status == 200, text
        (row,) = json.loads(text)["data"]
        (value,) = row.values()
        return value


@pytest.fixture(scope="session")
def sql_lab(server: Server) -> SqlLab:
    """The analyst's SQL Lab."""
    return SqlLab(server, "analyst")
