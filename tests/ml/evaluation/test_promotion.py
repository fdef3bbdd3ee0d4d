"""A challenger that is worse on the same rows is refused; a promotion can be rolled back."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from ml.data.examples import examples
from ml.data.learned import Learned
from ml.evaluation.evaluation import evaluate
from ml.evaluation.promotion import WorseError, compared, promote
from ml.registry.provenance import signature
from ml.registry.registry import Registry
from ml.registry.versions import LEARNED
from tests.conftest import Trained, copy_of


def oracle(fitted: PipelineModel, rows: DataFrame) -> PipelineModel:
    """An artifact that knows which of these complaints were successful: no real model is as good."""
    known = rows.where("label = 1").select(F.expr(FINGERPRINT).alias("fingerprint")).collect()
    successes = ", ".join(f"{row.fingerprint}L" for row in known)
    offset = f"CASE WHEN {FINGERPRINT} IN ({successes}) THEN 5.0D ELSE -5.0D END AS offset"
    last = SQLTransformer(statement=f"SELECT *, 0.0D AS slope, {offset} FROM __THIS__")  # noqa: S608
    return PipelineModel(stages=[*fitted.stages[:-1], last])


FINGERPRINT = "xxhash64(company, issue, state, narrative)"


def test_promotion_compares_on_the_same_rows_and_refuses_a_worse_model(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    registry = Registry(lake.settings)
    rows = examples(lake)
    parameters, good = registry.parameters("1"), trained.model.fitted
    texts = {LEARNED: learned_by(registry, "1").as_json()}
    better, worse = (
        registry.log(fitted, parameters=parameters, metrics={}, signature=signature(rows), texts=texts)
        for fitted in (oracle(good, rows), good)
    )
    comparison = compared(lake, registry, "1", worse)
    assert comparison.rows == trained.training.metrics.rows
    assert comparison.champion.auc_roc == trained.training.metrics.auc_roc
    assert comparison.difference == (0.0, 0.0)
    assert not comparison.is_worse
    promote(lake, registry, better)
    assert registry.champion_version() == better
    with pytest.raises(WorseError, match=f"Version {worse} is not promoted: on the same {comparison.rows} complaints"):
        promote(lake, registry, worse)
    assert (registry.champion_version(), registry.version_of("challenger")) == (better, worse)
    assert registry.rollback() == (better, "1")
    assert registry.champion_version() == "1"
    with pytest.raises(ComplaintsError, match="is the first champion: there is none to go back to"):
        registry.rollback()


def test_an_old_version_is_judged_only_where_its_rule_says_so(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    registry, rows = Registry(lake.settings), examples(lake).where("label IS NOT NULL")
    source, day = rows.where("source LIKE '%narratives%'").selectExpr("max(source)", "max(date_received)").collect()[0]
    rule = {"split": "time", "test_share": 0.25, "seed": 1, "since": {source: str(day - timedelta(days=500))}}
    parameters = {**registry.parameters("1"), "rule": json.dumps(rule)}
    old = registry.log(trained.model.fitted, parameters=parameters, metrics={}, signature=signature(rows))
    judged = evaluate(lake, registry, lambda _: None, version=old)
    expected = rows.where((F.col("source") == source) & (F.col("date_received") >= day - timedelta(days=500)))
    assert 0 < judged.evaluation.rows == expected.count()
    (note,) = judged.evaluation.notes
    assert note.startswith(f"Version {old}: it was trained by an earlier version of this project, which did not record")
    comparison = compared(lake, registry, "1", old)
    assert comparison.notes == (note,)
    assert comparison.rows == expected.transform(learned_by(registry, "1").unseen).count()
    assert registry.load(old).version == old


def learned_by(registry: Registry, version: str) -> Learned:
    record = registry.record(version)
    assert isinstance(record, Learned)
    return record


def test_versions_have_their_card_and_metrics(trained: Trained) -> None:
    registry = Registry(trained.lake.settings)
    version = registry.version("1")
    assert version.aliases == ("champion",)
    assert version.metrics["auc_roc"] == trained.training.metrics.auc_roc
    for heading in ("What it is for", "Data", "Metrics on the test set", "Limits"):
        assert f"## {heading}" in version.card
    assert f"{trained.training.train_rows:,} complaints for training" in version.card
    with pytest.raises(ComplaintsError, match="has no version 99; it has 1"):
        registry.version("99")
