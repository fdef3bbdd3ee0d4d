"""A challenger scores alongside the champion into separate columns, and changes nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import functions as F

from gold.decide import load_decisions
from gold.decisions import decisions
from gold.tables import BY_DAY, DECISIONS, SHADOW
from lakehouse.errors import ComplaintsError
from lakehouse.spark.per_batch import stamped
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import Model, scored, shadowed
from monitoring.shadow import agreements
from silver.tables import COMPLAINTS
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import IN_PYTHON, messages, with_topics
from tests.streaming.queries.test_plans import plan

OF_THE_BATCH = ("scored_at", "batch_id")


def bolder(model: Model) -> Model:
    """Return the same model with each logit raised by one."""
    calibration = model.fitted.stages[-1]
    assert isinstance(calibration, SQLTransformer)
    line = str(calibration.getStatement()).replace("END AS offset", "END + 1.0D AS offset")
    stages = [*model.fitted.stages[:-1], SQLTransformer(statement=line)]
    return Model(model.name, "2", PipelineModel(stages=stages))


def test_shadow_scoring_changes_no_decision_and_its_scores_equal_those_of_a_batch_run(
    trained: Trained,
    tmp_path: Path,
    shared_broker: Broker,
    whole_plans: None,  # noqa: ARG001
) -> None:
    challenger = bolder(trained.model)
    alone, shadow_lake = (copy_of(trained, tmp_path / name) for name in ("alone", "shadow_lake"))
    shadow_lake = Lake(shadow_lake.spark, with_topics(shadow_lake.settings, shared_broker, "shadow"))
    kafka = shadow_lake.settings.kafka
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    publishing = Publishing(kafka.predictions.name, spark_kafka_options(shadow_lake, shared_broker.bootstrap_servers))
    for lake in (alone, shadow_lake):
        lake.create(TABLES)
    follow(Queries(alone).score(trained.model, None, Trigger(until_done=True)), lambda _: None)
    query = Queries(shadow_lake).score(trained.model, publishing, Trigger(until_done=True), challenger)
    follow(query, lambda _: None)
    of_a_batch = shadow_lake.read(COMPLAINTS).transform(Queries(shadow_lake).scoring(trained.model, challenger))
    assert not IN_PYTHON.search(plan(of_a_batch))

    same = [name for name in DECISIONS.column_names if name not in (*SHADOW, *OF_THE_BATCH)]
    without, with_it = (lake.read(DECISIONS) for lake in (alone, shadow_lake))
    assert without.select(same).exceptAll(with_it.select(same)).isEmpty()
    assert without.count() == with_it.count() > 400
    assert without.where("shadow_probability IS NOT NULL OR shadow_version IS NOT NULL").isEmpty()

    by_batch = {
        row.complaint_id: row.probability
        for row in trained.lake.read(COMPLAINTS).transform(scored(challenger)).collect()
    }
    rows = with_it.select("complaint_id", "probability", *SHADOW).collect()
    assert {row.complaint_id: row.shadow_probability for row in rows} == by_batch
    assert {row.shadow_version for row in rows} == {"2"}
    assert not [row for row in rows if row.shadow_probability <= row.probability]

    published = [json.loads(value) for _, value in messages(shared_broker, kafka.predictions.name)]
    assert len(published) == len(rows)
    assert not [name for decision in published for name in decision if name in SHADOW]

    (found,) = agreements(shadow_lake)
    differences = [row.shadow_probability - row.probability for row in rows]
    assert (found.champion, found.challenger, found.rows) == ("1", "2", len(rows))
    assert found.mean_difference == pytest.approx(sum(differences) / len(rows))
    assert found.mean_absolute_difference == pytest.approx(found.mean_difference)
    assert found.differing == pytest.approx(share_decided_differently(trained, challenger))
    assert 0 < found.differing < 1
    with pytest.raises(ComplaintsError, match="No complaint was scored by a challenger yet: stream with COMPLAINTS_S"):
        agreements(alone)


def share_decided_differently(trained: Trained, challenger: Model) -> float:
    """Return the share of complaints that the challenger would decide differently from the champion."""
    rules = load_decisions(trained.lake.spark, COMPLAINTS.schema)
    kept = ("urgency", "escalate", "team", "recommended_action", "due_on")
    by_model = [
        {
            row.complaint_id: tuple(row[name] for name in kept)
            for row in trained.lake.read(COMPLAINTS).transform(scored(model)).transform(decisions(rules)).collect()
        }
        for model in (trained.model, challenger)
    ]
    return sum(by_model[0][number] != by_model[1][number] for number in by_model[0]) / len(by_model[0])


def test_an_older_table_gets_the_columns_and_its_readers_continue(trained: Trained, tmp_path: Path) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    shutil.rmtree(lake.path(DECISIONS))
    before = replace(DECISIONS, columns=tuple(column for column in DECISIONS.columns if column.name not in SHADOW))
    lake.create([before])
    complaints = lake.read(COMPLAINTS).orderBy("complaint_id").limit(40).localCheckpoint()
    middle = sorted(row.complaint_id for row in complaints.select("complaint_id").collect())[20]
    rules = load_decisions(lake.spark, COMPLAINTS.schema)
    rows = complaints.transform(shadowed(bolder(trained.model))).transform(scored(trained.model))
    rows = stamped(rows.transform(decisions(rules)), "scored_at").withColumn("batch_id", F.lit(0).cast("bigint"))
    lake.append(rows.where(F.col("complaint_id") < middle), before, "test:1")
    follow(Queries(lake).summarise(Trigger(until_done=True)), lambda _: None)
    lake.create(TABLES)
    lake.append(rows.where(F.col("complaint_id") >= middle), DECISIONS, "test:2")
    follow(Queries(lake).summarise(Trigger(until_done=True)), lambda _: None)
    (total,) = lake.read(BY_DAY).agg(F.sum("complaints").alias("rows")).collect()
    assert total.rows == 40
    shadowed_rows = lake.read(DECISIONS).where("shadow_version = '2' AND shadow_probability > probability")
    assert shadowed_rows.count() == 20
    assert lake.read(DECISIONS).count() == 40
