"""Training learns from the past and is judged on the future; what it cannot learn from it refuses in a sentence."""

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake
from ml.pipeline import INPUTS
from ml.registry import Registry
from ml.training import labelled, split_by_time, train
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES
from tests.conftest import Trained

TABLES = (COMPLAINTS, NARRATIVES, OUTCOMES)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=2, max_size=60), st.sampled_from([0.1, 0.25, 0.5]))
def test_law_nothing_in_the_test_part_is_older_than_anything_in_the_train_part(
    spark: SparkSession, days: list[int], share: float
) -> None:
    first = date(2023, 1, 1)
    rows = spark.createDataFrame([(first + timedelta(days=day),) for day in days], "date_received date")
    early, late, split_on = split_by_time(rows, share)
    before = [row.date_received for row in early.collect()]
    after = [row.date_received for row in late.collect()]
    assert sorted([*before, *after]) == sorted(first + timedelta(days=day) for day in days)
    assert after
    assert min(after) == split_on
    assert all(day < split_on for day in before)
    assert len(before) - before.count(max(before, default=None)) < len(days) * (1 - share)


def test_the_training_says_what_it_did(trained: Trained) -> None:
    training = trained.training
    outcomes = trained.lake.read(OUTCOMES).where("successful_resolution IS NOT NULL").count()
    assert training.train_rows + training.metrics.rows == outcomes
    assert training.train_rows + training.metrics.rows + training.unknown == trained.lake.read(COMPLAINTS).count()
    assert 0.15 < training.metrics.rows / outcomes <= 0.25
    assert 0 < training.metrics.base_rate < 1
    assert 0 <= training.metrics.auc_roc <= 1
    assert training.metrics.log_loss < 1.0
    assert trained.model.version == training.version == "1"


def test_a_narrative_that_came_later_is_learned_from_and_one_that_is_there_stays(
    spark: SparkSession, trained: Trained
) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    (without,) = complaints.where("NOT has_narrative").select("complaint_id").take(1)
    (given_,) = complaints.where("has_narrative").select("complaint_id", "narrative").take(1)
    later = spark.createDataFrame(
        [(without.complaint_id, "They called XXXX times, 7 a day!"), (given_.complaint_id, "Another text.")],
        "complaint_id bigint, narrative string",
    )
    rows = labelled(complaints, later, trained.lake.read(OUTCOMES))
    assert set(rows.columns) == {"complaint_id", "date_received", "label", *INPUTS}
    assert rows.count() == complaints.count()
    found = {
        row.complaint_id: row
        for row in rows.where(F.col("complaint_id").isin(without.complaint_id, given_.complaint_id)).collect()
    }
    row = found[without.complaint_id]
    assert (row.narrative, row.has_narrative) == ("They called XXXX times, 7 a day!", True)
    assert (row.redactions, row.exclamations) == (1, 1)
    assert found[given_.complaint_id].narrative == given_.narrative


def test_what_nothing_can_be_learned_from_is_refused(trained: Trained, lake: Lake) -> None:
    lake.create(TABLES)
    lake.append(trained.lake.read(COMPLAINTS), COMPLAINTS, "test:0")
    outcomes = trained.lake.read(OUTCOMES)
    too_few = outcomes.where("complaint_id % 4 = 0 AND successful_resolution IS NOT NULL")
    lake.append(too_few, OUTCOMES, "test:1")
    refuses(lake, "There are [0-9]+ complaints with a known outcome, and training needs 200: load more")
    of_one_kind = outcomes.where("NOT successful_resolution")
    lake.delta(OUTCOMES).delete()
    lake.append(of_one_kind, OUTCOMES, "test:2")
    refuses(lake, "All [0-9]+ known outcomes are unsuccessful, so there is nothing to tell apart")
    successes_of_the_past = outcomes.where("successful_resolution").orderBy("complaint_id").limit(20)
    lake.append(successes_of_the_past, OUTCOMES, "test:3")
    refuses(lake, "Split on 2017-[0-9-]+, one part has only one kind of outcome: load complaints of a longer period")


def refuses(lake: Lake, sentence: str) -> None:
    with pytest.raises(ComplaintsError, match=sentence):
        train(lake, Registry(lake.settings), lambda _: None)
