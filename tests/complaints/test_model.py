"""The model's commands return the documented JSON keys, and report what is missing in one sentence."""

import json
from pathlib import Path

import pytest

from ml.data.examples import examples
from ml.training import ablation
from tests.conftest import LOADED, Trained, copy_of

from .conftest import Run

KEYS = {
    "rows", "unknown", "auc_roc", "auc_pr", "accuracy", "precision", "recall", "f1", "log_loss", "brier", "ece",
    "threshold", "confusion", "intervals", "groups", "baselines",
}  # fmt: skip


def test_evaluate_prints_every_key_and_writes_its_report(run: Run, trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    answer = run("--root", lake.settings.folder, "evaluate", "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert set(found) >= KEYS
    assert found["rows"] == trained.training.metrics.rows
    assert found["auc_roc"] == pytest.approx(trained.training.metrics.auc_roc)
    assert set(found["baselines"]) == {"base_rate", "company_rate", "scikit_learn"}
    assert sum(found["confusion"].values()) == found["rows"]
    assert sum(group["rows"] for group in found["groups"]["scored_with"].values()) <= found["rows"]
    assert found["importance"]
    page = lake.settings.folder / "reports" / "evaluation-1" / "report.html"
    assert page.read_text(encoding="utf-8").count("<img") == 5


def test_evaluate_on_a_file_does_not_change_the_lake(run: Run, trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    data = Path(__file__).resolve().parents[1] / "data" / "2023-mixed.csv"
    before = sorted(path.name for path in (lake.settings.folder / "tables").rglob("*.parquet"))
    answer = run("--root", lake.settings.folder, "evaluate", "--data", data, "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert (found["rows"] > 0, found["notes"]) == (True, [])
    assert found["rows"] + found["unknown"] <= 40
    assert sorted(path.name for path in (lake.settings.folder / "tables").rglob("*.parquet")) == before


def test_evaluate_on_a_file_leaves_out_what_the_version_was_trained_on(
    run: Run, trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    answer = run("--root", lake.settings.folder, "evaluate", "--data", LOADED[1], "--json")
    found = json.loads(answer.out)
    known = examples(trained.lake).where("source LIKE '%snake-case%' AND label IS NOT NULL").count()
    assert 0.2 * known < found["rows"] < 0.3 * known
    (note,) = found["notes"]
    assert (
        note
        == f"{known - found['rows']} complaints of the file are left out: version 1 was trained on them or on copies."
    )


def test_explore_and_models_describe_the_lake_and_its_versions(run: Run, trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    explored = json.loads(run("--root", lake.settings.folder, "explore", "--json").out)
    assert explored[
        "known"
    ] == trained.training.train_rows + trained.training.calibrate_rows + trained.training.copies + (
        trained.training.metrics.rows
    )
    assert {one["feature"] for one in explored["categories"]} >= {"product", "company"}
    assert "processing_days" not in str(explored["numbers"])
    (version,) = json.loads(run("--root", lake.settings.folder, "models", "list", "--json").out)["versions"]
    assert (version["number"], version["aliases"]) == ("1", ["champion"])
    assert "## Limits" in run("--root", lake.settings.folder, "models", "show", "1").out
    shadow = run("--root", lake.settings.folder, "models", "shadow")
    assert (shadow.code, shadow.out) == (1, "")
    assert "No complaint was scored by a challenger yet: stream with COMPLAINTS_STREAMING__SHADOW=true" in shadow.err


def test_without_a_champion_the_error_names_the_train_command(run: Run, tmp_path: Path) -> None:
    for words in (("evaluate",), ("models", "list"), ("models", "rollback")):
        answer = run("--root", tmp_path, *words)
        assert (answer.code, answer.out) == (1, "")
        assert "run `complaints train` first" in answer.err


def test_ablate_measures_fewer_features_and_registers_nothing(
    run: Run, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPLAINTS_ML", json.dumps({"grid": {"regularisation": [0.003]}, "min_document_frequency": 3}))
    monkeypatch.setattr(ablation, "SHARES", {"strongest tenth": 0.1})
    lake = copy_of(trained, tmp_path / "lake")
    answer = run("--root", lake.settings.folder, "models", "ablate", "--of", "selection", "--rows", "20", "--json")
    assert answer.code == 0, answer.err
    plain, fewer = json.loads(answer.out)["variants"]
    assert (plain["name"], plain["gain"]) == ("without", None)
    assert plain["auc_roc"] == pytest.approx(trained.training.metrics.auc_roc, abs=1e-3)
    assert (fewer["name"], fewer["features"]) == ("strongest tenth", round(plain["features"] / 10))
    low, high = fewer["gain"]
    assert low <= fewer["auc_roc"] - plain["auc_roc"] <= high
    assert fewer["rows_per_second"] > 0
    (version,) = json.loads(run("--root", lake.settings.folder, "models", "list", "--json").out)["versions"]
    assert version["number"] == "1"
