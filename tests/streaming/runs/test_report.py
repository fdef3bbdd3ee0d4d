"""A run's report accounts for the run's own messages only."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold.tables import DECISIONS
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from streaming.runs.report import LAYERS, PERCENTILES, Counts, Span, Waits, counts, end_to_end, query_times
from streaming.service.health import BatchHealth

MILLISECONDS = {f"{name}_ms" for name in PERCENTILES}
BEGAN = datetime.now(UTC) - timedelta(seconds=30)


def batch(query: str, number: int, milliseconds: int, at: datetime) -> BatchHealth:
    return BatchHealth(query, "id", "run", number, at, 10, milliseconds, 1, 2, 3, 4, None)


def test_percentiles_cover_the_batches_between_the_warm_up_and_the_last_message() -> None:
    later, end = BEGAN + timedelta(seconds=10), BEGAN + timedelta(seconds=20)
    batches = [batch("score", 0, 99_000, BEGAN)]
    batches += [batch("score", number, number, later) for number in range(100, 0, -1)]
    batches += [batch("ingest", 0, 40, later), batch("ingest", 1, 99_000, end + timedelta(seconds=1))]
    times = query_times(batches, later, end)
    assert metrics(times["score"]) == {"batches": 100, "p50_ms": 51, "p95_ms": 96, "p99_ms": 100, "max_ms": 100}
    assert metrics(times["ingest"]) == {"batches": 1, "p50_ms": 40, "p95_ms": 40, "p99_ms": 40, "max_ms": 40}
    assert metrics(times["refine"]) == {"batches": 0, "p50_ms": 0, "p95_ms": 0, "p99_ms": 0, "max_ms": 0}
    assert list(query_times(batches, later, end, ("score",))) == ["score"]
    assert times["score"]["rows_per_batch"] == 10
    assert times["score"]["parts_ms"] == {"offsets": 1, "planning": 2, "execution": 3, "commit": 4}


def metrics(times: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in times.items() if name == "batches" or name in MILLISECONDS}


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        (Counts(bronze=10, silver=6, quarantined=3, duplicates=1, gold=6), True),
        (Counts(bronze=9, silver=6, quarantined=3, duplicates=1, gold=6), False),
        (Counts(bronze=10, silver=6, quarantined=2, duplicates=1, gold=6), False),
        (Counts(bronze=10, silver=6, quarantined=3, duplicates=1, gold=5), False),
        (Counts(bronze=11, silver=7, quarantined=3, duplicates=1, gold=7), False),
        (Counts(bronze=10, silver=6, quarantined=3, duplicates=1, gold=6, doubled=1), False),
    ],
)
def test_a_run_is_complete_when_every_message_is_in_one_place(found: Counts, whole: bool) -> None:  # noqa: FBT001
    assert found.is_complete(10) is whole


# A valid value per column type; tests set the values that matter.
FILLER = {"string": "low", "bigint": 1, "int": 1, "double": 0.5, "boolean": False, "date": "2024-03-04"}


def rows(lake: Lake, table: Table, records: list[str], mark: str, **values: object) -> None:
    """Append one row per record, landed now."""
    now = datetime.now(UTC)
    filled = {column.name: FILLER.get(column.type) for column in table.columns}
    known = {"state": "CA", "ingested_at": now, "refined_at": now, "kafka_timestamp": now - timedelta(seconds=5)}
    frame = lake.frame([{**filled, **known, **values, "record_id": record} for record in records], table)
    lake.append(frame, table, mark)


def test_earlier_messages_other_topics_and_files_are_left_out(lake: Lake) -> None:
    lake.create(LAYERS.values())
    span = Span("in", {0: 100, 1: 200}, BEGAN)
    mine = ["in/0/100", "in/0/101", "in/1/200", "in/1/0200"]
    others = ["in/0/99", "in/1/199", "other/0/500", "0123456789abcdef:file.csv:500", "in.2/0/500"]
    for number, table in enumerate(LAYERS.values()):
        rows(lake, table, [*mine[: 4 - number % 3], *others], "q:0")
        rows(lake, table, ["in/0/100"], "q:1", ingested_at=BEGAN - timedelta(hours=1))
    assert asdict(counts(lake, span)) == {
        "bronze": 4,
        "silver": 3,
        "quarantined": 2,
        "duplicates": 4,
        "gold": 3,
        "doubled": 0,
    }


def test_the_wait_ends_with_the_commit_that_makes_the_decision_visible(lake: Lake) -> None:
    lake.create([DECISIONS])
    span = Span("in", {0: 0}, BEGAN)
    now = datetime.now(UTC)
    rows(lake, DECISIONS, ["in/0/1"], "q:4", kafka_timestamp=now - timedelta(seconds=20), batch_id=4)
    rows(lake, DECISIONS, ["in/0/2"], "q:5", kafka_timestamp=now - timedelta(seconds=10), batch_id=5)
    rows(lake, DECISIONS, ["in/0/3"], "q:6", kafka_timestamp=now - timedelta(seconds=300), batch_id=6)  # warming up
    rows(lake, DECISIONS, ["in/0/4"], "another:5", kafka_timestamp=now, batch_id=7)
    measured = end_to_end(lake, span, "q", now - timedelta(seconds=25))
    waited = measured.milliseconds
    assert measured.complaints == 3
    assert 20_000 <= waited["max"] <= 20_000 + 60_000
    assert 14_000 <= waited["p50"] < waited["max"]
    assert waited["p50"] <= waited["p95"] <= waited["p99"] <= waited["max"]
    nothing = end_to_end(lake, span, "nobody", now)
    assert nothing == Waits(0, {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0})
