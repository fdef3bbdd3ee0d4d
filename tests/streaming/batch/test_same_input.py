"""The same input into an empty lake gives the same decisions."""

from pathlib import Path

from chispa import assert_df_equality
from pyspark.sql import DataFrame

from gold.tables import BY_DAY, DECISIONS
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.registry.registry import Registry
from ml.training.training import train
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from tests.conftest import LOADED, Trained

TIMES = ("kafka_timestamp", "ingested_at", "refined_at", "scored_at")


def test_loading_training_and_scoring_again_gives_the_same_rows_of_gold_except_times(
    trained: Trained, scored: Lake, tmp_path: Path
) -> None:
    again = Lake(scored.spark, load_settings(root=tmp_path / "again", ml=trained.lake.settings.ml.model_dump()))
    assert not load_files(again.settings, LOADED, lambda *_: None).errors
    train(again, Registry(again.settings), lambda _: None)
    score_backlog(again.settings, lambda *_: None)

    def decisions(lake: Lake) -> DataFrame:
        return lake.read(DECISIONS).drop(*TIMES).orderBy("complaint_id")

    assert decisions(scored).count() > 400
    assert_df_equality(decisions(again), decisions(scored), ignore_nullable=True)
    days, days_again = (lake.read(BY_DAY).orderBy(*BY_DAY.column_names) for lake in (scored, again))
    assert_df_equality(days_again, days, ignore_nullable=True)
