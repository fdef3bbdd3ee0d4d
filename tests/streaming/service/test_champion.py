"""The stream switches champions between batches; without the registry the last one stays active."""

from pathlib import Path

from mlflow import MlflowClient
from pyspark.sql import functions as F

from gold.tables import DECISIONS
from lakehouse.tables.lake import Lake
from ml.registry.provenance import signature
from ml.registry.registry import Registry
from ml.scoring.scoring import Model
from silver.tables import COMPLAINTS
from streaming.queries.definitions import Queries, Trigger
from streaming.queries.supervisor import Gate, Supervisor
from streaming.service.champion import ActiveModels, ChampionWatcher
from streaming.tables import TABLES
from tests.conftest import Trained, copied_version, copy_of
from tests.stream_fixtures import wait_until


def test_a_new_champion_is_loaded_once_and_a_lost_registry_changes_nothing(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    registry = Registry(lake.settings)
    notices: list[str] = []
    watcher = ChampionWatcher(registry, ActiveModels(trained.model), notices.append)
    watcher.look()
    assert (watcher.take(), notices) == (None, [])
    complaints = lake.read(COMPLAINTS)
    version = registry.log(trained.model.fitted, parameters={}, metrics={}, signature=signature(complaints))
    watcher.look()
    assert watcher.take() is None  # registered, not promoted
    registry.promote(version)
    watcher.look()
    taken = watcher.take()
    assert taken is not None
    assert (taken.champion.version, watcher.take()) == ("2", None)
    assert notices == ["Version 2 is the champion now: loading it."]
    (lake.settings.folder / "mlflow" / "mlflow.db").write_bytes(b"no database at all" * 1000)
    watcher.look()
    watcher.look()
    assert watcher.take() is None
    assert len(notices) == 2
    assert notices[1].endswith("Version 2 continues to score.")


def test_a_broken_champion_is_reported_once_and_loaded_when_it_is_fixed(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    registry = Registry(lake.settings)
    part = next(copied_version(lake, tmp_path / "files").glob("sparkml/stages/*IDF*/data/*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    MlflowClient().set_registered_model_alias(registry.name, "champion", "2")
    notices: list[str] = []
    watcher = ChampionWatcher(registry, ActiveModels(trained.model), notices.append)
    watcher.look()
    watcher.look()
    assert watcher.take() is None
    assert notices[0] == "Version 2 is the champion now: loading it."
    assert notices[1].startswith("Version 2 of the model 'complaint_resolution' is broken, its file sparkml/stages/")
    assert notices[1].endswith(" Version 1 continues to score.")
    assert len(notices) == 2
    part.write_bytes(whole)
    watcher.look()
    taken = watcher.take()
    assert taken is not None
    assert taken.champion.version == "2"


def test_a_challenger_is_loaded_only_for_shadow_scoring_and_dropped_when_it_becomes_champion(
    trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    registry = Registry(lake.settings)
    copied_version(lake, tmp_path / "files")
    MlflowClient().set_registered_model_alias(registry.name, "challenger", "2")
    alone = ChampionWatcher(registry, ActiveModels(trained.model), lambda _: None)
    alone.look()
    assert alone.take() is None
    notices: list[str] = []
    watcher = ChampionWatcher(registry, ActiveModels(trained.model), notices.append, shadows=True)
    watcher.look()
    watcher.look()
    taken = watcher.take()
    assert taken is not None
    assert taken.challenger is not None
    assert (taken.champion, taken.challenger.version) == (trained.model, "2")
    registry.promote("2")
    watcher.look()
    taken = watcher.take()
    assert taken is not None
    assert (taken.champion.version, taken.challenger) == ("2", None)
    assert notices == [
        "Version 2 is the challenger now: loading it.",
        "Version 2 is the champion now: loading it.",
        "There is no challenger anymore. Only the champion scores.",
    ]


def test_swapping_the_model_while_the_stream_runs_loses_nothing_and_scores_nothing_twice(
    trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    lake.create(TABLES)
    complaints = trained.lake.read(COMPLAINTS)
    known = complaints.count()
    active_models = [trained.model]
    gate = Gate()
    ended: list[tuple[str, int]] = []
    supervisor = Supervisor(
        lake.settings.streaming,
        gate,
        lambda _: None,
        on_end=lambda name, query: ended.append((name, query.lastProgress["batchId"])),  # type: ignore[index]
    )
    queries = Queries(lake, gate)
    supervisor.start({"score": lambda: queries.score(active_models[0], None, Trigger())})
    try:
        wait_until(lambda: decided(lake) == known, "one decision per complaint")
        active_models[0] = Model(trained.model.name, "2", trained.model.fitted)
        more(lake, complaints.limit(30), 10**9)
        supervisor.renew("score")
        more(lake, complaints.limit(30), 2 * 10**9)
        wait_until(lambda: decided(lake) == known + 60, "decisions on the added complaints")
        supervisor.check()
    finally:
        supervisor.stop()
    assert [name for name, _ in ended] == ["score"], "its last progress can still be read"
    rows = lake.read(DECISIONS).select("complaint_id", "model_version").collect()
    assert len({row.complaint_id for row in rows}) == len(rows) == known + 60
    versions = {row.complaint_id: row.model_version for row in rows}
    assert {versions[number] for number in versions if number < 10**9} == {"1"}
    assert {versions[number] for number in versions if number >= 2 * 10**9} == {"2"}


def decided(lake: Lake) -> int:
    return lake.read(DECISIONS).count()


def more(lake: Lake, rows: object, first: int) -> None:
    moved = rows.withColumn("complaint_id", F.col("complaint_id") + first)  # type: ignore[attr-defined]
    lake.append(moved, COMPLAINTS, f"test:{first}")
