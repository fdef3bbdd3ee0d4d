"""A benchmark's metrics are computed from its measurements and stored with a chart; the data is real."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from benchmarks.bench import Bench, batch_metrics, drain_metrics, growth_metrics
from benchmarks.chart import _stream

MEASURED = sorted((Path(__file__).resolve().parent.parent / "measured").glob("*.json"))


def test_each_kind_of_benchmark_has_a_stored_measurement() -> None:
    assert [path.stem for path in MEASURED] == ["batch", "drain", "growth", "queries", "stream", "train"]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_measurement_is_stored_with_its_chart_and_its_table(path: Path, tmp_path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    stored = Bench(content["bench"], content["figures"], content["series"], table="| a |\n").store(tmp_path / "reports")
    assert stored.name.startswith(f"bench-{path.stem}-")
    assert json.loads(stored.read_text(encoding="utf-8")) == content
    assert stored.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert stored.with_suffix(".md").read_text(encoding="utf-8") == "| a |\n"


def test_the_chart_names_only_the_queries_that_ran() -> None:
    content = json.loads(next(path for path in MEASURED if path.stem == "stream").read_text(encoding="utf-8"))
    batches = [batch for batch in content["series"]["batches"] if batch["query"] in ("ingest", "score")]
    figure = Figure()
    _stream(figure, {**content, "series": {**content["series"], "batches": batches}})
    legend = figure.axes[0].get_legend()
    assert legend
    named = {text.get_text().partition(",")[0] for text in legend.get_texts()}
    assert named == {"ingest", "score", "warm-up"}


def test_a_metric_that_json_does_not_have_is_stored_as_null(tmp_path: Path) -> None:
    content = json.loads(next(path for path in MEASURED if path.stem == "drain").read_text(encoding="utf-8"))
    figures = {**content["figures"], "rates": [float("nan"), float("inf")]}
    stored = Bench("drain", figures, content["series"]).store(tmp_path)
    assert json.loads(stored.read_text(encoding="utf-8"))["figures"]["rates"] == [None, None]


def test_the_drain_rate_counts_scored_rows() -> None:
    assert drain_metrics(1_000, 900, 30.04) == {"backlog": 1_000, "drained_s": 30.0, "rows_per_minute": 1_798}


def test_batch_throughput_uses_the_time_of_all_steps() -> None:
    steps = [{"step": "load and refine", "seconds": 20.0}, {"step": "score and summarise", "seconds": 40.0}]
    assert batch_metrics(600, steps) == {
        "rows": 600,
        "steps": {"load and refine": 20.0, "score and summarise": 40.0},
        "rows_per_minute": 600,
    }


def test_growth_compares_the_means_of_both_passes() -> None:
    found = {
        10: [{"ingest": {"p50_ms": 100}, "score": {"p50_ms": 0}}, {"ingest": {"p50_ms": 300}, "score": {"p50_ms": 0}}],
        100: [{"ingest": {"p50_ms": 240}, "score": {"p50_ms": 5}}, {"ingest": {"p50_ms": 260}, "score": {"p50_ms": 5}}],
    }
    metrics = growth_metrics([10, 100], found)
    assert metrics["p50_ms"] == {"ingest": {10: 200, 100: 250}, "score": {10: 0, 100: 5}}
    assert metrics["growth"] == {"ingest": 0.25, "score": None}
    assert (metrics["sizes"], metrics["queries"]) == ([10, 100], found)
