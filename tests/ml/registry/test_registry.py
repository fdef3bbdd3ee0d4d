"""A registered champion loads unchanged; without a champion, the error says what to do."""

from pathlib import Path

import mlflow
import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.tables.lake import Lake
from ml.registry.provenance import signature
from ml.registry.registry import Registry
from ml.scoring.scoring import scored
from silver.tables import COMPLAINTS
from tests.conftest import Trained, copied


def test_a_registered_champion_returns_identical_probabilities(trained: Trained, lake: Lake) -> None:
    registry = Registry(lake.settings)
    with pytest.raises(ComplaintsError, match="no champion of the model 'complaint_resolution': run `complaints tra"):
        registry.champion_version()
    complaints = trained.lake.read(COMPLAINTS)
    version = registry.log(
        trained.model.fitted,
        parameters={"made": "by a test"},
        metrics={"auc_roc": 0.5},
        signature=signature(complaints),
    )
    with pytest.raises(ComplaintsError, match="run `complaints train` first"):
        registry.champion()  # registered, not promoted
    registry.promote(version)
    loaded = registry.champion()
    assert (loaded.name, loaded.version) == (lake.settings.ml.model, version)
    before, after = (
        {row.complaint_id: row.probability for row in complaints.transform(scored(model)).collect()}
        for model in (trained.model, loaded)
    )
    assert before == after
    assert len(set(before.values())) > 10


def test_the_registry_is_entirely_in_the_lakes_folder(trained: Trained) -> None:
    folder = trained.lake.settings.folder / "mlflow"
    assert (folder / "mlflow.db").is_file()
    assert any(folder.rglob("MLmodel"))


def test_the_registry_is_the_lakes_own_whatever_was_set_before(
    trained: Trained, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", elsewhere)
    mlflow.set_registry_uri(elsewhere)
    registry = Registry(lake.settings)
    registry.log(trained.model.fitted, parameters={}, metrics={}, signature=signature(trained.lake.read(COMPLAINTS)))
    assert [version.number for version in registry.versions()] == ["1"]
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("name", ["my lake", "lake,2026", "lake [100%]"])
def test_a_model_is_stored_and_loaded_in_a_folder_with_any_name(trained: Trained, tmp_path: Path, name: str) -> None:
    registry = Registry(copied(trained.lake.settings, tmp_path / name))
    complaints = trained.lake.read(COMPLAINTS)
    stored = registry.log(registry.champion().fitted, parameters={}, metrics={}, signature=signature(complaints))
    assert complaints.limit(3).transform(scored(registry.load(stored))).count() == 3
