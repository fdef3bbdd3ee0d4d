"""Each benchmark measures in a lake of its own, stores figures and a chart, and leaves the root's tables alone.

Those that measure take minutes and are marked `benchmarks`; what is computed from what they saw is tested on data in
`tests/benchmarks/test_bench.py`.
"""

import json
import signal
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
    """A lake with decisions, which no benchmark changes."""
    return Lake(scored.spark, copied(scored.settings, tmp_path_factory.mktemp("bench") / "lake"))


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
    assert not list(root.glob("bench*"))
    return told


@pytest.mark.benchmarks
def test_the_stream_is_measured_by_query_and_part_without_what_was_to_warm_it_up(run: Run, lake: Lake) -> None:
    times = ("--rate", "1200", "--duration", "0.2", "--warm-up", "6", "--run-in", "0.01")
    told = measured(run, lake, "stream", *times)
    assert told["sent"] == told["gold"] == told["published"] == 1200 * 0.3
    assert (told["warm_up_s"], told["run_in_minutes"]) == (6, 0.01)
    assert told["cpu_s_per_1000"] > 0
    assert 0 < told["published_ms"]["p50"] <= told["published_ms"]["max"]
    for query in ("ingest", "refine", "score"):
        times = told["queries"][query]
        assert times["rows_per_batch"] > 0
        assert times["parts_ms"].keys() == {"offsets", "planning", "execution", "commit"}
        assert 0 < times["parts_ms"]["execution"] <= times["max_ms"]


@pytest.mark.benchmarks
def test_a_backlog_is_drained_to_the_last_complaint(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "drain", "--backlog", "60", "--narratives", "0.25")
    assert (told["backlog"], told["narratives"]) == (60, 0.25)
    assert told["drained_s"] > 0
    assert told["rows_per_minute"] == pytest.approx(60 * 60 / told["drained_s"], rel=0.1)


@pytest.mark.benchmarks
def test_the_dashboards_queries_are_timed_chart_by_chart(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "queries", "--rows", "600")
    assert told["rows"] == 600
    assert 0 < told["slowest_ms"] == max(told["warm_ms"].values())
    (table,) = (lake.settings.folder / "reports").glob("bench-queries-*.md")
    assert table.read_text().count("\n") == 2 + len(told["warm_ms"])


@pytest.mark.benchmarks
def test_files_are_loaded_and_scored(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "batch", "--rows", "60")
    assert told["steps"].keys() == {"load and refine", "score and summarise"}
    assert told["rows"] == 60


@pytest.mark.benchmarks
def test_batches_are_measured_beside_so_many_decisions_and_beside_them_again(run: Run, lake: Lake) -> None:
    told = measured(run, lake, "growth", "--sizes", "60", "--rate", "1200", "--duration", "0.1")
    assert told["sizes"] == [60]
    assert all(times["ingest"]["batches"] > 0 for times in told["queries"]["60"])
    for query in ("ingest", "refine", "score"):
        first, again = (times[query] for times in told["queries"]["60"])
        assert told["p50_ms"][query]["60"] == pytest.approx((first["p50_ms"] + again["p50_ms"]) / 2)
        assert told["growth"][query] == 0


@pytest.mark.benchmarks
def test_training_is_measured_at_several_sizes_in_a_process_of_its_own(
    run: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPLAINTS_ML", json.dumps({"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}))
    told = measured(run, lake, "train", "--times", "1")
    ((rows, size),) = told["sizes"].items()
    assert int(rows) == lake.read(SILVER_COMPLAINTS).count()
    assert size["java_mb"] > 200
    assert size["python_mb"] > 50
    assert size["seconds"] > 1
    assert size["fitted_on"] > 200
    assert (
        json.loads(run("--root", lake.settings.folder, "models", "list", "--json").out)["versions"][0]["number"] == "1"
    )


def test_a_multiplied_lake_has_new_ids_and_narratives_that_are_no_copies(lake: Lake) -> None:
    complaints = lake.read(SILVER_COMPLAINTS)
    rows = multiplied(complaints, 3)
    assert rows.dtypes == complaints.dtypes
    assert rows.where(F.col("complaint_id") < ID_STEP).exceptAll(complaints).count() == 0
    (counted,) = rows.agg(F.count("*"), F.countDistinct("complaint_id"), F.count("narrative")).collect()
    told = complaints.where("narrative IS NOT NULL").count()
    assert tuple(counted) == (3 * complaints.count(), 3 * complaints.count(), 3 * told)
    distinct = rows.select("narrative").distinct().count()
    assert distinct > 2.5 * complaints.select("narrative").distinct().count()


@pytest.mark.parametrize("times", ["1,many", "0,1", ""])
def test_sizes_that_are_none_are_refused(run: Run, tmp_path: Path, times: str) -> None:
    answer = run("--root", tmp_path, "bench", "train", "--times", times)
    assert (answer.code, answer.out) == (1, "")
    assert f"{times} is not a list of sizes: give whole numbers, smallest first, like 1,10,100." in answer.err


def test_without_a_model_nothing_is_measured(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path / "empty", "bench", "stream")
    assert (answer.code, answer.out) == (1, "")
    assert "complaints train" in answer.err


@pytest.mark.parametrize("name", ["batch", "growth"])
def test_a_measurement_with_nothing_to_tell_yet_ends_at_ctrl_c(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(f"benchmarks.bench.bench_{name}", lambda *_: signal.raise_signal(signal.SIGINT))
    assert run("--root", tmp_path, "bench", name).code == 130


def test_two_measurements_are_compared_number_by_number(run: Run, tmp_path: Path) -> None:
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
    assert f"{after} is no measurement" in wrong.err
