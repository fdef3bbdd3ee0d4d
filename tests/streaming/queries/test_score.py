"""A batch of decisions is stored once and published at least once, always with the same content."""

import json
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from gold.decide import load_decisions
from gold.decisions import decisions
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import Model, scored
from silver.tables import COMPLAINTS
from streaming.batch.backlog import score_backlog
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries import score as module
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing, ScoreBatch
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import killed_while_publishing, messages, with_topics


def test_a_batch_run_twice_is_stored_once_and_published_twice_as_it_was_stored(
    trained: Trained, lake: Lake, shared_broker: Broker
) -> None:
    lake = Lake(lake.spark, with_topics(lake.settings, shared_broker, "score"))
    kafka = lake.settings.kafka
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    lake.create([DECISIONS])
    publishing = Publishing(kafka.predictions.name, spark_kafka_options(lake, shared_broker.bootstrap_servers))
    complaints = trained.lake.read(COMPLAINTS).orderBy("complaint_id").limit(30).localCheckpoint()
    rules = load_decisions(lake.spark, COMPLAINTS.schema)

    def batch_of(model: Model) -> None:
        rows = complaints.transform(scored(model)).transform(decisions(rules))
        ScoreBatch(lake, Guard(lake, "q"), publishing)(rows, 7)

    batch_of(trained.model)
    batch_of(Model(trained.model.name, "a newer one", trained.model.fitted))  # the champion changed before the restart

    stored = lake.read(DECISIONS)
    assert stored.count() == stored.select("complaint_id").distinct().count() == 30
    published: dict[bytes, list[bytes]] = {}
    for key, value in messages(shared_broker, kafka.predictions.name):
        published.setdefault(key, []).append(value)
    assert {int(key) for key in published} == {row.complaint_id for row in stored.select("complaint_id").collect()}
    for key, values in published.items():
        assert len(values) == 2
        assert values[0] == values[1]
        assert json.loads(values[0])["complaint_id"] == int(key)
    assert stored.where(F.col("model_version") != trained.model.version).count() == 0


def test_a_later_batch_of_the_same_run_is_written_without_checking_gold(trained: Trained, lake: Lake) -> None:
    lake.create([DECISIONS])
    complaints = trained.lake.read(COMPLAINTS).orderBy("complaint_id").limit(20).localCheckpoint()
    rows = complaints.transform(scored(trained.model)).transform(
        decisions(load_decisions(lake.spark, COMPLAINTS.schema))
    )
    write = ScoreBatch(lake, Guard(lake, "q"), None)
    lowest = sorted(row.complaint_id for row in complaints.select("complaint_id").collect())
    write(rows.where(F.col("complaint_id") < lowest[10]), 0)
    write(rows.where(F.col("complaint_id") >= lowest[10]), 1)
    found = {row.batch_id: row["count"] for row in lake.read(DECISIONS).groupBy("batch_id").count().collect()}
    assert found == {0: 10, 1: 10}


def test_scoring_without_a_stream_first_publishes_what_a_killed_stream_had_stored(
    trained: Trained, tmp_path: Path, shared_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(trained, tmp_path / "lake")
    lake = Lake(copy.spark, with_topics(copy.settings, shared_broker, "rest"))
    kafka = lake.settings.kafka
    ensure_topics(kafka, shared_broker.bootstrap_servers)
    lake.create(TABLES)
    publishing = Publishing(kafka.predictions.name, spark_kafka_options(lake, shared_broker.bootstrap_servers))

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", killed_while_publishing)
        with pytest.raises(ComplaintsError, match="InterruptedError"):
            follow(Queries(lake).score(trained.model, publishing, Trigger(until_done=True)), lambda _: None)
    stored = {row.complaint_id for row in lake.read(DECISIONS).select("complaint_id").collect()}
    assert stored
    assert messages(shared_broker, kafka.predictions.name) == []

    assert score_backlog(lake.settings, lambda *_: None) > 0
    assert {int(key) for key, _ in messages(shared_broker, kafka.predictions.name)} == stored
    assert lake.read(DECISIONS).count() == lake.read(COMPLAINTS).count()
