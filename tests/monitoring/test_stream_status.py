"""Throughput, latency, decisions and samples of a period, read from gold while other processes write it."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from gold.tables import DECISIONS, STREAM_HEALTH
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from monitoring.stream_status import DISTRIBUTION, LATENCY, SAMPLES, THROUGHPUT, looked
from tests.complaints.conftest import Run

AGE = timedelta(hours=1)


@pytest.fixture
def watched(lake: Lake) -> Lake:
    """A lake whose stream stopped an hour ago, and had one batch the day before."""
    lake.create([STREAM_HEALTH, DECISIONS])
    _write(lake, STREAM_HEALTH, {"query": "score", "batch_id": 7, "rows": 84})
    _write(lake, STREAM_HEALTH, {"query": "ingest", "batch_id": 9, "rows": 84})
    _write(lake, STREAM_HEALTH, {"query": "ingest", "batch_id": 2, "rows": 40}, AGE + timedelta(days=1))
    decided = {"urgency": "high", "team": "Fraud", "probability": 0.25, "scored_with": "text", "complaint_id": 1}
    decided |= {"reasons": [{"rule": "r", "reason": "Because.", "basis": "b"}]}
    _write(lake, DECISIONS, decided)
    earlier = {**decided, "urgency": "low", "complaint_id": 2}
    _write(lake, DECISIONS, earlier, AGE + timedelta(minutes=30))
    return lake


def test_the_default_is_the_latest_ten_minutes_that_have_data(watched: Lake) -> None:
    settings = watched.settings
    throughput = looked(settings, THROUGHPUT)
    assert {row[1]: row[2] for row in throughput.result.rows} == {"ingest": 84, "score": 84}
    assert throughput.until == throughput.newest
    assert throughput.until - throughput.since == timedelta(minutes=10)
    ((_, decisions, p50, *_),) = looked(settings, LATENCY).result.rows
    assert (decisions, p50) == (1, pytest.approx(2000, abs=1))
    of = {(row[0], row[1]): row[2:] for row in looked(settings, DISTRIBUTION).result.rows}
    assert of == {
        ("urgency", "high"): (1, 0),
        ("urgency", "low"): (0, 1),  # in the fifty minutes before
        ("team", "Fraud"): (1, 1),
        ("score", "0.2 to 0.3"): (1, 1),
    }
    ((complaint, *_, reasons),) = looked(settings, SAMPLES).result.rows
    assert (complaint, reasons) == (1, ["Because."])


def test_a_window_ends_now(watched: Lake) -> None:
    hour = looked(watched.settings, SAMPLES, timedelta(minutes=59))
    assert (len(hour.result.rows), hour.newest is None) == (0, False)
    assert [row[0] for row in looked(watched.settings, SAMPLES, timedelta(hours=2)).result.rows] == [1, 2]
    batches = looked(watched.settings, THROUGHPUT, timedelta(days=2)).result.rows
    assert [row[1:3] for row in batches] == [("ingest", 40), ("ingest", 84), ("score", 84)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("samples",), r"^from .* UTC; the newest is 60 min ago, of .* UTC$"),
        (("samples", "--window", "90s"), r"^There is no data from .*; the newest is 60 min ago, of .* UTC\.$"),
        (("throughput", "--window", "2d"), r"^from .* UTC; the newest is 60 min ago"),
    ],
)
def test_each_view_says_as_of_when_it_is(watched: Lake, run: Run, words: tuple[str, ...], expected: str) -> None:
    answer = run("--root", watched.settings.folder, "monitor", *words)
    assert (answer.code, answer.err) == (0, "")
    assert re.search(expected, answer.out.splitlines()[-1])


@pytest.mark.parametrize("duration", ["10", "0m", "-5m", "1.5h", "1w", "ten minutes"])
def test_a_window_needs_a_unit(run: Run, duration: str) -> None:
    answer = run("monitor", "samples", "--window", duration)
    assert answer.code == 2
    assert f"'{duration}' is not a number and a unit, such as 30m, 2h or 1d." in answer.err


def test_without_any_data_it_says_so(lake: Lake, run: Run) -> None:
    lake.create([STREAM_HEALTH, DECISIONS])
    answer = run("--root", lake.settings.folder, "monitor", "latency")
    assert (answer.code, answer.out) == (0, "There is no data yet.\n")


def _write(lake: Lake, table: Table, values: dict[str, object], age: timedelta | None = None) -> None:
    """Append one row with times of this age, by default an hour."""
    now = datetime.now(UTC) - (age or AGE)
    filler = {"string": "x", "bigint": 1, "double": 0.5, "boolean": False}
    times = {"started_at": now, "scored_at": now, "kafka_timestamp": now - timedelta(seconds=2)}
    filled = {column.name: filler.get(column.type) for column in table.columns}
    lake.append(lake.frame([{**filled, **times, **values}], table), table, "test:0")
