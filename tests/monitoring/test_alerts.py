"""Alert rules fire only above their threshold, explain themselves, and reach a webhook."""

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gold.tables import DECISIONS, MODEL_QUALITY, STREAM_HEALTH
from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.sql.cluster import cluster_query
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from monitoring.alerts import Alert, AlertRule, Query, evaluated, load_alerts, send
from streaming.tables import TABLES

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def decision(number: int, *, age: timedelta, escalate: bool, probability: float) -> dict[str, object]:
    at = NOW - age
    needed = dict.fromkeys(("team", "recommended_action", "model_name", "model_version", "record_id"), "x")
    known = {"complaint_id": number, "probability": probability, "escalate": escalate, "urgency": "low"}
    return {**needed, **known, "scored_with": "text", "scored_at": at, "ingested_at": at}


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """A quiet day, then 15 minutes with every complaint escalated and the lag near its threshold."""
    lake.create(TABLES)
    day = timedelta(days=2)
    rows = [decision(n, age=day, escalate=n < 10, probability=0.2) for n in range(100)]
    rows += [decision(100 + n, age=timedelta(minutes=n), escalate=True, probability=0.5) for n in range(10)]
    lake.append(lake.frame(rows, DECISIONS), DECISIONS, "test:1")
    waits: dict[str, object] = {"query": "ingest", "query_id": "q", "run_id": "r", "batch_id": 1, "started_at": NOW}
    lake.append(lake.frame([{**waits, "lag_rows": 19_999}], STREAM_HEALTH), STREAM_HEALTH, "test:1")
    metric: dict[str, object] = {"model_name": "m", "model_version": "1", "week": "2025-12-29", "feature": "company"}
    metric |= {"measure": "population_stability", "value": 0.3, "rows": 1000}
    earlier = {**metric, "week": "2025-12-01", "value": 0.9}
    few = {**metric, "feature": "state", "rows": 999, "value": 0.9}
    lake.append(lake.frame([metric, earlier, few], MODEL_QUALITY), MODEL_QUALITY, "test:1")
    return lake


def by_duckdb(lake: Lake) -> Query:
    return lambda statement: query(lake.settings, TABLES, statement).rows


def by_spark(lake: Lake) -> Query:
    return lambda statement: cluster_query(lake, TABLES, statement)


ENGINES = pytest.mark.parametrize("engine", [by_duckdb, by_spark])


@ENGINES
def test_rules_fire_above_their_threshold_and_not_below(engine: Callable[[Lake], Query], filled: Lake) -> None:
    found = {alert.id: (alert.value, alert.fires) for alert in evaluated(engine(filled), load_alerts())}
    assert found == {
        "lag": (19_999, False),
        "quarantined_share": (0, False),
        "escalation_spike": (pytest.approx(10), True),
        "drift": (pytest.approx(0.3), True),
        "feature_drift": (0.3, True),
    }


def test_without_data_nothing_fires(lake: Lake) -> None:
    lake.create(TABLES)
    assert [(a.value, a.fires) for a in evaluated(by_duckdb(lake), load_alerts())] == [(None, False)] * 5


@ENGINES
def test_an_invalid_query_is_reported_with_its_rule(engine: Callable[[Lake], Query], lake: Lake) -> None:
    lake.create(TABLES)
    for sql, message in (("SELECT nothing FROM gold.decisions", "can't be run"), ("SELECT 1, 2", "one number")):
        with pytest.raises(ComplaintsError, match=rf"'mine'.*{message}"):
            evaluated(engine(lake), [AlertRule(id="mine", query=sql, above=1, says="x")])


@ENGINES
def test_a_rule_can_only_select(engine: Callable[[Lake], Query], lake: Lake, tmp_path: Path) -> None:
    lake.create([DECISIONS])
    for sql in (
        f"CREATE TABLE mine USING csv LOCATION '{tmp_path / 'mine'}' AS SELECT 1 AS n",
        f"INSERT OVERWRITE DIRECTORY '{tmp_path / 'mine'}' USING csv SELECT 1",
        f"COPY (SELECT 1) TO '{tmp_path / 'mine'}'",
        "SET spark.sql.ansi.enabled = true",
        "DROP VIEW gold.decisions",
        "SELECT 1) -- \n",
    ):
        with pytest.raises(ComplaintsError, match=r"'mine' can't be evaluated"):
            evaluated(engine(lake), [AlertRule(id="mine", query=sql, above=1, says="x")])
    assert not (tmp_path / "mine").exists()
    assert lake.spark.conf.get("spark.sql.ansi.enabled") == "false"


def test_an_invalid_rule_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("alerts:\n  - id: lag\n    query: SELECT 1\n    over: 3\n    says: x\n")
    with pytest.raises(ComplaintsError, match=r"alerts\.yaml:\d+, rule 'lag'"):
        load_alerts(path)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[Any]]]:
    """A local webhook, and the messages that it received."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()


def test_a_webhook_receives_text_and_data(webhook: tuple[str, list[Any]]) -> None:
    url, received = webhook
    send([Alert("lag", 30_000, 20_000, fires=True, says="Keep up.")], url)
    (message,) = received
    assert message["text"] == "lag is 30,000, above 20,000. Keep up."
    assert message["alerts"][0]["value"] == 30_000


def test_an_unreachable_webhook_is_reported() -> None:
    with pytest.raises(ComplaintsError, match="COMPLAINTS_ALERTS__WEBHOOK"):
        send([Alert("lag", 1, 0, fires=True, says="x")], "http://127.0.0.1:9/hook")


SECRET = "T0KEN-hunter2"  # part of a webhook's path


@pytest.mark.parametrize(
    "url",
    [
        f"file:///tmp/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"http://hooks.example/{SECRET}",
        f"http://127.0.0.1.hooks.example/{SECRET}",
        f"http://10.0.0.1/{SECRET}",
        f"https:///{SECRET}",
        f"//hooks.example/{SECRET}",
        f"hooks.example/{SECRET}",
        f"https://hooks.example/{SECRET}\n",
        f"data:text/plain,{SECRET}",
        SECRET,
    ],
)
def test_an_invalid_webhook_address_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("COMPLAINTS_ALERTS__WEBHOOK", url)
    with pytest.raises(ComplaintsError, match=r"alerts\.webhook.* must begin with https://") as error:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(error.value))  # as --debug shows it


@pytest.mark.parametrize(
    "url", ["https://hooks.example/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/x"]
)
def test_https_and_the_local_host_are_valid_addresses(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("COMPLAINTS_ALERTS__WEBHOOK", url)
    webhook = load_settings().alerts.webhook
    assert webhook is not None
    assert webhook.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:9/{SECRET}",  # nothing listens
        f"http://127.0.0.1:9/{SECRET}\x7f",
        f"file:///{SECRET}",
        f"unknown://{SECRET}",
        f"http://nowhere.invalid/{SECRET}",
    ],
)
def test_a_failing_webhook_is_reported_without_its_address(url: str, tmp_path: Path) -> None:
    (tmp_path / SECRET).touch()
    with pytest.raises(ComplaintsError) as error:
        send([Alert("lag", 1, 0, fires=True, says="x")], url)
    printed = "".join(traceback.format_exception(error.value))
    assert "COMPLAINTS_ALERTS__WEBHOOK" in printed
    assert SECRET not in printed


def test_a_redirect_of_a_webhook_is_not_followed() -> None:
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requested.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ComplaintsError, match="it answered 302"):
            send([Alert("lag", 1, 0, fires=True, says="x")], f"http://127.0.0.1:{server.server_port}/hook")
        server.shutdown()
    assert requested == ["/hook"]
