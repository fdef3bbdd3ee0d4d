"""The same input into an empty lake gives the same decisions."""

from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import Row

from gold.tables import BY_DAY, DECISIONS
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.registry.registry import Registry
from ml.training.training import train
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from tests.conftest import LOADED, Trained

TIMES = ("kafka_timestamp", "ingested_at", "refined_at", "scored_at")
# Training adds up in the order in which Spark's tasks finish, so the last digits of these differ from run to run.
COMPUTED = ("probability", "influences")
CLOSE = 1e-5


def test_loading_training_and_scoring_again_gives_the_same_rows_of_gold_except_times_and_last_digits(
    trained: Trained, scored: Lake, tmp_path: Path
) -> None:
    again = Lake(scored.spark, load_settings(root=tmp_path / "again", ml=trained.lake.settings.ml.model_dump()))
    assert not load_files(again.settings, LOADED, lambda *_: None).errors
    train(again, Registry(again.settings), lambda _: None)
    score_backlog(again.settings, lambda *_: None)

    exact = [name for name in DECISIONS.column_names if name not in (*TIMES, *COMPUTED)]
    found, expected = (lake.read(DECISIONS).orderBy("complaint_id") for lake in (again, scored))
    assert expected.count() > 400
    assert_df_equality(found.select(*exact), expected.select(*exact), ignore_nullable=True)
    pairs = list(zip(found.collect(), expected.collect(), strict=True))
    assert all(ours.probability == pytest.approx(theirs.probability, abs=CLOSE) for ours, theirs in pairs)
    assert all(influences(ours) == pytest.approx(influences(theirs), abs=CLOSE) for ours, theirs in pairs)
    counted = [name for name in BY_DAY.column_names if name != "probability_sum"]
    days, days_again = (lake.read(BY_DAY).select(counted).orderBy(*counted) for lake in (scored, again))
    assert_df_equality(days_again, days, ignore_nullable=True)


def influences(decision: Row) -> dict[str, float]:
    """Return the contribution of each feature that moved the score of a decision most."""
    return {influence.feature: influence.contribution for influence in decision.influences}
