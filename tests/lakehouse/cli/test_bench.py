"""Each benchmark measures in a lake of its own, stores figures and a chart, and leaves the root's tables alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from bronze.tables import COMPLAINTS
from lakehouse.lake import Lake
from streaming.backlog import score_backlog
from tests.conftest import Trained, copy_of
from tests.lakehouse.cli.conftest import Run


@pytest.fixture
def lake(trained: Trained, tmp_path: Path) -> Lake:
    return copy_of(trained, tmp_path / "lake")


def measured(run: Run, lake: Lake, *words: str) -> dict[str, Any]:
    """What a benchmark printed, once its files are seen to say the same."""
    before, root = lake.version(COMPLAINTS), lake.settings.folder
    answer = run("--root", root, "bench", *words, "--json")
    assert answer.code == 0, answer.err
    told: dict[str, Any] = json.loads(answer.out)
    (stored,) = (root / "reports").glob(f"bench-{words[0]}-*.json")
    content = json.loads(stored.read_text())
    assert told == {"bench": words[0], **content["figures"]}
    assert content["series"]
    assert stored.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert lake.version(COMPLAINTS) == before
    assert not (root / "bench").exists()
    return told


def test_the_stream_is_measured_by_query_and_part_without_its_warm_up(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "stream", "--rate", "1200", "--duration", "0.2", "--warm-up", "6")
    assert told["sent"] == told["gold"] == told["published"] == 1200 * 0.3
    assert told["warm_up_s"] == 6
    assert told["cpu_s_per_1000"] > 0
    assert 0 < told["published_ms"]["p50"] <= told["published_ms"]["max"]
    for query in ("ingest", "refine", "score"):
        times = told["queries"][query]
        assert times["rows_per_batch"] > 0
        assert times["parts_ms"].keys() == {"offsets", "planning", "execution", "commit"}
        assert 0 < times["parts_ms"]["execution"] <= times["max_ms"]


def test_a_backlog_is_drained_to_the_last_complaint(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "drain", "--backlog", "60", "--narratives", "0.25")
    assert (told["backlog"], told["narratives"]) == (60, 0.25)
    assert told["drained_s"] > 0
    assert told["rows_per_minute"] == pytest.approx(60 * 60 / told["drained_s"], rel=0.1)


def test_the_dashboards_queries_are_timed_chart_by_chart(run: Run, lake: Lake) -> None:
    assert score_backlog(lake.settings, lambda *_: None)
    told = measured(run, lake, "queries", "--rows", "600")
    assert told["rows"] == 600
    assert 0 < told["slowest_ms"] == max(told["warm_ms"].values())
    (table,) = (lake.settings.folder / "reports").glob("bench-queries-*.md")
    assert table.read_text().count("\n") == 2 + len(told["warm_ms"])


def test_files_are_loaded_and_scored(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "batch", "--rows", "60")
    assert told["steps"].keys() == {"load and refine", "score and summarise"}
    assert told["rows"] == 60


def test_without_a_model_nothing_is_measured(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path / "empty", "bench", "stream")
    assert (answer.code, answer.out) == (1, "")
    assert "complaints train" in answer.err


def test_two_measurements_are_compared_number_by_number(run: Run, tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps({"figures": {"sent": 10, "queries": {"score": {"p50_ms": 200}}, "gone": 1}}))
    after.write_text(json.dumps({"figures": {"sent": 10, "queries": {"score": {"p50_ms": 100}}, "complete": True}}))
    answer = run("bench", "compare", before, after)
    assert [line.split() for line in answer.out.splitlines()] == [
        ["figure", "before", "after", "ratio"],
        ["sent", "10", "10", "1.00"],
        ["queries.score.p50_ms", "200", "100", "0.50"],
    ]
    after.write_text("[1, 2]")
    wrong = run("bench", "compare", before, after)
    assert (wrong.code, wrong.out) == (1, "")
    assert f"{after} is no measurement" in wrong.err
