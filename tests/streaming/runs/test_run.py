"""A run sends messages, some malformed, waits until each is stored, and reports only its own."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

from gold.tables import STREAM_HEALTH
from lakehouse.tables.lake import Lake, writer_lock
from silver.tables import COMPLAINTS
from streaming.kafka.generator import Mix
from streaming.runs.run import Plan, View, run
from tests.conftest import SAMPLES, Trained, copy_of

SENT = 240


def test_every_message_of_a_run_is_accounted_for_and_published(
    trained: Trained, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    lake: Lake = copy_of(trained, tmp_path / "lake")
    before = lake.read(COMPLAINTS).count()
    views: list[View] = []
    notices: list[str] = []
    mix = Mix(malformed=0.1, duplicates=0.1, updated=0.1)
    plan = Plan(3000, SENT, (SAMPLES / "export-2017-snake-case.csv.gz",), mix)
    report = run(lake.settings, plan, notify=notices.append, on_view=views.append, stop=threading.Event()).as_json()

    assert report["complete"] is True
    assert report["sent"] == report["bronze"] == SENT
    assert report["failed"] == 0
    record_property("messages accounted for", SENT)
    assert report["silver"] + report["quarantined"] + report["duplicates"] == SENT
    assert 0 < report["silver"] < SENT
    assert report["quarantined"] > 5
    assert report["duplicates"] > 15
    # Complaints loaded before the run are scored too, but don't count for the run.
    assert report["gold"] == report["published"] == report["silver"]
    assert lake.read(COMPLAINTS).count() == before + report["silver"]
    assert report["model_version"] == trained.model.version
    assert report["restarts"] == {"ingest": 0, "refine": 0, "merge": 0, "score": 0, "revise": 0, "summarise": 0}
    assert 1000 < report["rate_per_minute"] < 4000
    waited = report["end_to_end_ms"]
    assert 0 < waited["p50"] <= waited["p95"] <= waited["p99"] <= waited["max"]
    json.dumps(report)

    assert {view.phase for view in views} == {"sending", "finishing"}
    assert views[-1].sent == SENT
    assert views[-1].rows["ingest"] == SENT
    assert any("version 1 of the model" in notice for notice in notices)
    stored = {row["query"] for row in lake.read(STREAM_HEALTH).select("query").distinct().collect()}
    assert {"ingest", "refine", "score"} <= stored
    with writer_lock(lake.settings):  # the run released the writer lock
        pass
