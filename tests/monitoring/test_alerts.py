"""Alert rules fire only above their threshold and on enough rows, explain themselves, and reach a webhook."""

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS, MODEL_QUALITY
from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.sql.cluster import cluster_query
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from monitoring.alert_watch import AlertWatch, current_alerts
from monitoring.alerts import Alert, AlertRule, Query, evaluated, load_alerts, send
from monitoring.measures import MeasureName, Reading
from silver.tables import COMPLAINTS as SILVER
from silver.tables import QUARANTINE
from streaming.tables import TABLES

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def decision(number: int, *, age: timedelta, escalate: bool, probability: float) -> dict[str, object]:
    at = NOW - age
    needed = dict.fromkeys(("team", "recommended_action", "model_name", "model_version", "record_id"), "x")
    known = {"complaint_id": number, "probability": probability, "escalate": escalate, "urgency": "low"}
    return {**needed, **known, "scored_with": "text", "scored_at": at, "ingested_at": at}


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """A quiet day, then 10 minutes with every complaint escalated, and drift in the last assessed week."""
    lake.create(TABLES)
    day = timedelta(days=2)
    rows = [decision(n, age=day, escalate=n < 100, probability=0.2) for n in range(1000)]
    rows += [decision(1000 + n, age=timedelta(minutes=n % 10), escalate=True, probability=0.5) for n in range(1000)]
    lake.append(lake.frame(rows, DECISIONS), DECISIONS, "test:1")
    metric: dict[str, object] = {"model_name": "m", "model_version": "x", "week": "2025-12-29", "feature": "company"}
    metric |= {"measure": "population_stability", "value": 0.3, "rows": 1000, "is_alert": True}
    earlier = {**metric, "week": "2025-12-01", "value": 0.9}
    few = {**metric, "week": "2026-01-05", "rows": 999, "value": 0.9, "is_alert": False}
    seen_in_training = {**metric, "feature": "state", "value": 0.9, "is_alert": False}
    replaced = {**metric, "week": "2026-01-05", "model_version": "before x", "value": 0.8}
    metrics = [metric, earlier, few, seen_in_training, replaced]
    lake.append(lake.frame(metrics, MODEL_QUALITY), MODEL_QUALITY, "test:1")
    return lake


READINGS: dict[MeasureName, Reading] = {
    "unread_messages": Reading(20_000),
    "unread_minutes": Reading(10.1),
    "stream_silent_minutes": Reading(None, "no stream"),
    "dead_queries": Reading(0),
}


def by_duckdb(lake: Lake) -> Query:
    return lambda statement: query(lake.settings, TABLES, statement).rows


def by_spark(lake: Lake) -> Query:
    return lambda statement: cluster_query(lake, TABLES, statement)


ENGINES = pytest.mark.parametrize("engine", [by_duckdb, by_spark])


@ENGINES
def test_rules_fire_above_their_threshold_and_not_below(engine: Callable[[Lake], Query], filled: Lake) -> None:
    alerts = evaluated(engine(filled), READINGS.__getitem__, load_alerts())
    assert {alert.id: (alert.value, alert.fires) for alert in alerts} == {
        "lag": (20_000, False),
        "kafka_not_read": (10.1, True),
        "stream_lost": (None, False),
        "dead_queries": (0, False),
        "silver_behind": (0, False),
        "gold_behind": (0, False),
        "quarantined_share": (None, False),
        "escalation_spike": (pytest.approx(10), True),
        "drift": (pytest.approx(0.3), True),
        "feature_drift": (0.3, True),
    }


@ENGINES
def test_rows_that_wait_between_two_layers_fire(engine: Callable[[Lake], Query], lake: Lake) -> None:
    """Of 105 rows that landed long ago, two are not refined; of the 97 in silver, three are not decided."""
    lake.create(TABLES)
    long_ago, just_now = datetime.now(UTC) - timedelta(minutes=20), datetime.now(UTC)
    times = {"ingested_at": long_ago, "refined_at": long_ago}
    ids = [{"complaint_id": n, "record_id": str(n), "date_received": "2024-01-02", **times} for n in range(1, 98)]
    landed = [{"record_id": str(n), "source": "kafka", "ingested_at": long_ago} for n in range(105)]
    landed += [{"record_id": f"new {n}", "source": "kafka", "ingested_at": just_now} for n in range(9)]
    refused = [{"record_id": f"refused {n}", **times} for n in range(6)]
    decided = [decision(n, age=timedelta(0), escalate=False, probability=0.5) | times for n in range(1, 95)]
    for rows, table in ((ids, SILVER), (landed, BRONZE), (refused, QUARANTINE), (decided, DECISIONS)):
        lake.append(lake.frame(rows, table), table, "test:1")
    found = {alert.id: alert for alert in evaluated(engine(lake), READINGS.__getitem__, load_alerts())}
    assert {name: (found[name].value, found[name].fires) for name in ("silver_behind", "gold_behind")} == {
        "silver_behind": (2, True),
        "gold_behind": (3, True),
    }
    assert found["quarantined_share"].value == pytest.approx(6 / 103)
    assert found["quarantined_share"].fires


def test_without_data_nothing_fires(lake: Lake) -> None:
    lake.create(TABLES)
    alerts = evaluated(by_duckdb(lake), lambda _: Reading(None, "no broker"), load_alerts())
    assert {alert.value for alert in alerts} == {None, 0}
    assert not any(alert.fires for alert in alerts)


def test_a_scored_lake_has_no_alert(scored: Lake) -> None:
    alerts = current_alerts(scored.settings, load_alerts())
    assert [alert.id for alert in alerts if alert.fires] == []


@ENGINES
def test_an_invalid_query_is_reported_with_its_rule(engine: Callable[[Lake], Query], lake: Lake) -> None:
    lake.create(TABLES)
    for sql, message in (("SELECT nothing FROM gold.decisions", "can't be run"), ("SELECT 1, 2", "one number")):
        with pytest.raises(ComplaintsError, match=rf"'mine'.*{message}"):
            evaluated(engine(lake), READINGS.__getitem__, [AlertRule(id="mine", query=sql, above=1, says="x")])


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
            evaluated(engine(lake), READINGS.__getitem__, [AlertRule(id="mine", query=sql, above=1, says="x")])
    assert not (tmp_path / "mine").exists()
    assert lake.spark.conf.get("spark.sql.ansi.enabled") == "false"


@pytest.mark.parametrize("measured", ["", "    query: SELECT 1\n    measure: dead_queries\n"])
def test_a_rule_has_a_query_or_a_measure(tmp_path: Path, measured: str) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(f"alerts:\n  - id: mine\n{measured}    above: 3\n    says: x\n")
    with pytest.raises(ComplaintsError, match=r"alerts\.yaml:2, rule 'mine': a rule has either a query or a measure"):
        load_alerts(path)


def test_a_measure_that_fails_fires() -> None:
    def fail(_: MeasureName) -> Reading:
        msg = "The Kafka broker at broker:9092 can't be used."
        raise ComplaintsError(msg)

    rule = AlertRule(id="lag", measure="unread_messages", above=1, says="Keep up.")
    (alert,) = evaluated(lambda _: [], fail, [rule])
    assert alert.fires
    assert str(alert) == "lag can't be measured: The Kafka broker at broker:9092 can't be used. Keep up."


def test_a_stream_reports_an_alert_when_it_begins_and_when_it_is_over(webhook: tuple[str, list[Any]]) -> None:
    lag, drift = (Alert(name, 3, 2, fires=True, says="Look.") for name in ("lag", "drift"))
    quiet = Alert("lag", 1, 2, fires=False, says="Look.")
    rounds = iter([[quiet], [lag], [lag, drift], [quiet, drift], [lag]])
    url, received = webhook
    said: list[str] = []
    watch = AlertWatch(lambda: next(rounds), url, said.append)
    for _ in range(5):
        watch()
    assert said == [
        "Alert: lag is 3, above 2. Look.",
        "Alert: drift is 3, above 2. Look.",
        "The alert lag is over.",
        "Alert: lag is 3, above 2. Look.",
        "The alert drift is over.",
    ]
    assert [message["text"] for message in received] == [
        "lag is 3, above 2. Look.",
        "drift is 3, above 2. Look.",
        "lag is 3, above 2. Look.",
    ]


def test_an_alert_that_could_not_be_posted_is_posted_the_next_time(webhook: tuple[str, list[Any]]) -> None:
    url, received = webhook
    lag = Alert("lag", 3, 2, fires=True, says="Look.")
    said: list[str] = []
    watch = AlertWatch(lambda: [lag], "http://127.0.0.1:9/hook", said.append)
    with pytest.raises(ComplaintsError, match="The webhook did not accept"):
        watch()
    watch._webhook = url
    watch()
    watch()
    assert len(said) == len(received) == 1


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


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_webhook_receives_null_for_a_value_that_json_does_not_have(
    webhook: tuple[str, list[Any]], value: float
) -> None:
    url, received = webhook
    send([Alert("lag", value, 20_000, fires=True, says="Keep up.")], url)
    (message,) = received
    assert message["alerts"][0]["value"] is None


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
