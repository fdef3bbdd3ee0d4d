"""Superset's metadata in PostgreSQL, by one setting; skipped where PostgreSQL is not installed."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.dashboards.live.conftest import free_port, run

pytestmark = pytest.mark.superset

PROGRAMS = next(Path("/usr/lib/postgresql").glob("*/bin"), Path(shutil.which("initdb") or "/nowhere/x").parent)
OWNER = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server for one test."""
    if not (PROGRAMS / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder, port = tempfile.mkdtemp(prefix="postgres-"), free_port()
    if OWNER:
        shutil.chown(folder, OWNER)
    make = [str(PROGRAMS / "initdb"), "--pgdata", folder, "--username", "superset", "--auth", "trust", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, user=OWNER, cwd="/")
    serve = [str(PROGRAMS / "postgres"), "-D", folder, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
    with subprocess.Popen(serve, stderr=subprocess.DEVNULL, user=OWNER, cwd="/") as server:
        ready = [str(PROGRAMS / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "30"]
        while subprocess.run(ready, check=False, capture_output=True).returncode:
            assert server.poll() is None, "PostgreSQL did not start"
            time.sleep(0.2)
        yield f"postgresql+psycopg2://superset@127.0.0.1:{port}/postgres"
        server.terminate()
    shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_metadata_is_stored_in_postgresql_if_configured(postgres: str, tmp_path: Path) -> None:
    root, port, setting = tmp_path / "lake", free_port(), {"COMPLAINTS_SUPERSET__METADATA": postgres}
    started = run(root, port, "superset", "start", "--json", **setting)
    assert started.returncode == 0, started.stderr
    try:
        passwords = json.loads(started.stdout.splitlines()[-1])["passwords"]
        assert json.loads(run(root, port, "superset", "status", "--json", **setting).stdout)["healthy"]
        login = {"username": "analyst", "password": passwords["analyst"], "provider": "db"}
        answer = requests.post(f"http://127.0.0.1:{port}/api/v1/security/login", json=login, timeout=60)
        assert answer.status_code == 200
    finally:
        run(root, port, "superset", "stop", **setting)
    assert not (root / "superset" / "metadata.db").exists()
    assert not json.loads(run(root, port, "superset", "status", "--json").stdout)["configured"], "without the setting"
