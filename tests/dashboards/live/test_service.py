"""Superset on a laptop: problems are reported in one sentence, and `start` fixes what it can."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dashboards.assets import FOLDER, Assets
from dashboards.export import files_from
from dashboards.server.browser import Browser
from dashboards.service import Superset
from gold.tables import STREAM_HEALTH
from lakehouse.settings import Settings
from lakehouse.tables.stores import table_path
from silver.tables import EXPECTATIONS
from streaming.tables import TABLES
from tests.dashboards.live.conftest import Server, SqlLab, free_port, run, started
from tests.stream_fixtures import wait_until

pytestmark = pytest.mark.superset

OVERVIEW, LIVE, HEALTH = Assets().dashboards
CHANGED = "Relief rate"
KEPT_SECONDS = 6  # longer than a real-time result is cached


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Superset over a lake without a single table."""
    with started(tmp_path_factory.mktemp("empty") / "lake") as server:
        yield server


def status(server: Server) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        run(server.settings.folder, server.port, "superset", "status", "--json").stdout
    )
    return found


def test_over_an_empty_lake_dashboards_open_and_show_no_data_yet(empty: Server) -> None:
    with Browser(empty.url) as browser:
        browser.log_in("analyst", empty.passwords["analyst"])
        shown = browser.open("complaint-overview", len(Assets().charts_of(OVERVIEW)))
        assert not [name for name, state in shown.items() if state.startswith("error")]
        page = browser.driver.find_element("css selector", "[data-test-chart-name='Data as of']").text
        live = browser.open("real-time-monitoring", len(Assets().charts_of(LIVE)))
        assert not [name for name, state in live.items() if state.startswith("error")]
        said = browser.driver.find_element("css selector", "[data-test-chart-name='Latest data']").text
    assert page.count("no data yet") == 5
    assert "No stream is running: start one with `complaints live`" in said


def test_a_missing_table_is_named_by_its_charts_and_the_others_are_drawn(
    empty: Server, scored_lake: Settings, tmp_path: Path
) -> None:
    for table in (STREAM_HEALTH, EXPECTATIONS):
        shutil.copytree(table_path(scored_lake, table), table_path(empty.settings, table))
    charts = len(Assets().charts_of(HEALTH))
    with Browser(empty.url) as browser:
        browser.log_in("operator", empty.passwords["operator"])
        assert browser.open("system-health", charts)["Expectations failed by rule"] == "drawn"
        shutil.move(table_path(empty.settings, STREAM_HEALTH), tmp_path / "away")
        time.sleep(KEPT_SECONDS)
        shown = browser.open("system-health", charts)
    shutil.move(tmp_path / "away", table_path(empty.settings, STREAM_HEALTH))
    failed = {name for name, state in shown.items() if "The table gold.stream_health is gone from the lake." in state}
    assert failed == {"Batch time by query", "Rows by query", "Lag by minute", "Freshness by table"}
    assert shown["Expectations failed by rule"] == "drawn"


def test_three_accounts_are_created_once_with_different_passwords(empty: Server) -> None:
    assert set(empty.passwords) == {"admin", "operator", "analyst"}
    assert len(set(empty.passwords.values())) == 3
    again = run(empty.settings.folder, empty.port, "superset", "configure", "--json")
    assert json.loads(again.stdout) == {"passwords": {}}


def test_the_secret_key_is_readable_by_its_owner_only_and_outside_the_repository(empty: Server) -> None:
    key = empty.settings.folder / "superset" / "secret_key"
    assert key.stat().st_mode & 0o077 == 0
    assert len(key.read_text()) > 40
    assert not key.is_relative_to(FOLDER.parents[1])


def test_importing_again_changes_nothing_and_an_export_returns_the_same_files(empty: Server) -> None:
    before = {path: path.read_bytes() for path in FOLDER.rglob("*.yaml")}
    done = run(empty.settings.folder, empty.port, "superset", "export")
    assert done.stdout.strip() == "0 files changed."
    assert {path: path.read_bytes() for path in FOLDER.rglob("*.yaml")} == before


def test_a_change_in_superset_is_exported_to_its_file_and_only_an_admin_can_make_it(empty: Server) -> None:
    operator, admin = SqlLab(empty, "operator"), SqlLab(empty, "admin")
    charts = admin.get("/api/v1/chart/?q=(page_size:100)")
    path, before = next((f"/api/v1/chart/{c['id']}", c["description"]) for c in charts if c["slice_name"] == CHANGED)
    assert operator.put(path, {"description": "Theirs."}) == 403
    assert admin.put(path, {"description": "Ours."}) == 200
    exported = Superset(empty.settings, TABLES).ask({"do": "export"})["assets"]
    assert admin.put(path, {"description": before}) == 200
    files = files_from(Assets(), TABLES, exported)
    changed = {file: text for file, text in files.items() if file.read_text() != text}
    ((file, text),) = changed.items()
    assert file == FOLDER / "charts" / "relief-rate.yaml"
    assert text == file.read_text().replace(before, "Ours.")


def test_the_server_listens_on_loopback_sends_secure_headers_and_loads_nothing_from_outside(empty: Server) -> None:
    headers = requests.get(f"{empty.url}/login/", timeout=60).headers
    policy = headers["Content-Security-Policy"]
    assert "http:" not in policy
    assert "https:" not in policy
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=Lax" in headers["Set-Cookie"]


def test_a_visitor_without_an_account_sees_nothing(empty: Server) -> None:
    assert requests.get(f"{empty.url}/api/v1/dashboard/", timeout=60).status_code == 401
    page = requests.get(f"{empty.url}/superset/dashboard/complaint-overview/", timeout=60)
    assert "/login" in page.url


def test_an_old_password_is_refused_and_a_new_one_works(empty: Server) -> None:
    done = run(empty.settings.folder, empty.port, "superset", "password", "operator", "--json")
    new = json.loads(done.stdout)["passwords"]["operator"]
    for password, code in ((empty.passwords["operator"], 401), (new, 200)):
        login = {"username": "operator", "password": password, "provider": "db"}
        assert requests.post(f"{empty.url}/api/v1/security/login", json=login, timeout=60).status_code == code


def test_a_killed_server_is_reported_by_status_and_restarted_by_start(empty: Server) -> None:
    assert status(empty)["healthy"]
    os.killpg(int(str(status(empty)["pid"])), signal.SIGKILL)
    wait_until(lambda: not status(empty)["running"], "the server's exit")
    assert not status(empty)["healthy"]
    start = time.monotonic()
    assert run(empty.settings.folder, empty.port, "superset", "start").returncode == 0
    assert time.monotonic() - start < 60
    assert status(empty)["healthy"]


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        done = run(tmp_path / "lake", port, "superset", "start")
    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr
    assert "COMPLAINTS_SUPERSET__PORT" in done.stderr
    assert "Traceback" not in done.stderr
