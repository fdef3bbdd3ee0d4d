"""Each benchmark runs in a lake of its own, stores metrics and a chart, and does not change the root's tables.

Tests that run a benchmark take minutes and are marked `benchmarks`; the computation of its metrics is tested on data in
`tests/benchmarks/test_bench.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from benchmarks.bench import ID_STEP
from benchmarks.training import multiplied
from bronze.tables import COMPLAINTS
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS as SILVER_COMPLAINTS
from tests.complaints.conftest import Run
from tests.conftest import copied


@pytest.fixture(scope="module")
def lake(scored: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with decisions; no benchmark changes it."""
    return Lake(scored.spark, copied(scored.settings, tmp_path_factory.mktemp("bench") / "lake"))


def measured(run: Run, lake: Lake, *words: str) -> dict[str, Any]:
    """Run a benchmark, check that its files agree with its output, and return the output."""
    before, root = lake.version(COMPLAINTS), lake.settings.folder
    answer = run("--root", root, "bench", *words, "--json")
    assert answer.code == 0, answer.err
    result: dict[str, Any] = json.loads(answer.out)
    (stored,) = (root / "reports").glob(f"bench-{words[0]}-*.json")
    content = json.loads(stored.read_text())
    assert result == {"bench": words[0], **content["figures"]}
    assert content["series"]
    assert stored.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert lake.version(COMPLAINTS) == before
    assert not list(root.glob("bench*"))
    return result


@pytest.mark.benchmarks
def test_the_stream_is_measured_by_query_and_phase_without_the_warm_up(run: Run, lake: Lake) -> None:
    times = ("--rate", "1200", "--duration", "0.2", "--warm-up", "6", "--run-in", "0.01")
    result = measured(run, lake, "stream", "--intake-only", *times)
    assert result["sent"] == result["gold"] == result["published"] == 1200 * 0.3
    assert (result["warm_up_s"], result["run_in_minutes"]) == (6, 0.01)
    assert result["cpu_s_per_1000"] > 0
    assert 0 < result["published_ms"]["p50"] <= result["published_ms"]["max"]
    for query in ("ingest", "refine", "score"):
        times = result["queries"][query]
        assert times["rows_per_batch"] > 0
        assert times["parts_ms"].keys() == {"offsets", "planning", "execution", "commit"}
        assert 0 < times["parts_ms"]["execution"] <= times["max_ms"]


@pytest.mark.benchmarks
def test_the_stream_is_measured_with_complaints_that_come_again(run: Run, lake: Lake) -> None:
    times = ("--rate", "1200", "--duration", "0.2", "--warm-up", "6")
    result = measured(run, lake, "stream", "--known", "500", *times)
    assert result["known"] == 500
    assert result["sent"] == 1200 * 0.3 == result["silver"] + result["quarantined"] + result["duplicates"]
    assert result["duplicates"] > 0.2 * result["sent"]


@pytest.mark.benchmarks
def test_a_backlog_is_scored_to_the_last_complaint(run: Run, lake: Lake) -> None:
    result = measured(run, lake, "drain", "--backlog", "60", "--narratives", "0.25")
    assert (result["backlog"], result["narratives"]) == (60, 0.25)
    assert result["drained_s"] > 0
    assert result["rows_per_minute"] == pytest.approx(60 * 60 / result["drained_s"], rel=0.1)


@pytest.mark.benchmarks
def test_the_dashboard_queries_are_timed_per_chart(run: Run, lake: Lake) -> None:
    result = measured(run, lake, "queries", "--rows", "600")
    assert result["rows"] == 600
    assert 0 < result["slowest_ms"] == max(result["warm_ms"].values())
    (table,) = (lake.settings.folder / "reports").glob("bench-queries-*.md")
    assert table.read_text().count("\n") == 2 + len(result["warm_ms"])


@pytest.mark.benchmarks
def test_loading_and_scoring_files_is_measured(run: Run, lake: Lake) -> None:
    result = measured(run, lake, "batch", "--rows", "60")
    assert result["steps"].keys() == {"load and refine", "score and summarise"}
    assert result["rows"] == 60


@pytest.mark.benchmarks
def test_batches_are_measured_twice_for_each_size_of_gold(run: Run, lake: Lake) -> None:
    result = measured(run, lake, "growth", "--sizes", "60", "--rate", "1200", "--duration", "0.1")
    assert result["sizes"] == [60]
    assert all(times["ingest"]["batches"] > 0 for times in result["queries"]["60"])
    for query in ("ingest", "refine", "score"):
        first, again = (times[query] for times in result["queries"]["60"])
        assert result["p50_ms"][query]["60"] == pytest.approx((first["p50_ms"] + again["p50_ms"]) / 2)
        assert result["growth"][query] == 0


@pytest.mark.benchmarks
def test_training_is_measured_per_size_in_its_own_process(
    run: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPLAINTS_ML", json.dumps({"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}))
    result = measured(run, lake, "train", "--times", "1")
    ((rows, size),) = result["sizes"].items()
    assert int(rows) == lake.read(SILVER_COMPLAINTS).count()
    assert size["java_mb"] > 200
    assert size["python_mb"] > 50
    assert size["seconds"] > 1
    assert size["fitted_on"] > 200
    assert (
        json.loads(run("--root", lake.settings.folder, "models", "list", "--json").out)["versions"][0]["number"] == "1"
    )


def test_a_multiplied_lake_has_new_ids_and_different_narratives(lake: Lake) -> None:
    complaints = lake.read(SILVER_COMPLAINTS)
    rows = multiplied(complaints, 3)
    assert rows.dtypes == complaints.dtypes
    assert rows.where(F.col("complaint_id") < ID_STEP).exceptAll(complaints).count() == 0
    (counted,) = rows.agg(F.count("*"), F.countDistinct("complaint_id"), F.count("narrative")).collect()
    narratives = complaints.where("narrative IS NOT NULL").count()
    assert tuple(counted) == (3 * complaints.count(), 3 * complaints.count(), 3 * narratives)
    distinct = rows.select("narrative").distinct().count()
    assert distinct > 2.5 * complaints.select("narrative").distinct().count()


@pytest.mark.parametrize("times", ["1,many", "0,1", ""])
def test_invalid_sizes_are_rejected(run: Run, tmp_path: Path, times: str) -> None:
    answer = run("--root", tmp_path, "bench", "train", "--times", times)
    assert (answer.code, answer.out) == (1, "")
    assert f"{times} is not a list of sizes: give whole numbers, smallest first, like 1,10,100." in answer.err


def test_a_benchmark_without_a_model_is_an_error(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path / "empty", "bench", "stream")
    assert (answer.code, answer.out) == (1, "")
    assert "complaints train" in answer.err


@pytest.mark.parametrize("name", ["batch", "growth"])
def test_ctrl_c_ends_a_benchmark_that_has_no_partial_result(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"benchmarks.bench.bench_{name}", interrupted)
    assert run("--root", tmp_path, "bench", name).code == 130


def test_two_benchmark_results_are_compared_metric_by_metric(run: Run, tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps({"figures": {"sent": 10, "queries": {"score": {"p50_ms": 200}}, "gone": 1}}))
    after.write_text(json.dumps({"figures": {"sent": 10, "queries": {"score": {"p50_ms": 100}}, "complete": True}}))
    answer = run("bench", "compare", before, after)
    assert [line.split() for line in answer.out.splitlines()] == [
        ["metric", "before", "after", "ratio"],
        ["sent", "10", "10", "1.00"],
        ["queries.score.p50_ms", "200", "100", "0.50"],
    ]
    after.write_text("[1, 2]")
    wrong = run("bench", "compare", before, after)
    assert (wrong.code, wrong.out) == (1, "")
    assert f"{after} is not a benchmark result" in wrong.err
