"""A complaint whose intake was revised is decided again, once; the earliest deadline stands."""

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from bronze import tables as bronze
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import Model
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, REVISIONS
from streaming.batch.backlog import score_backlog
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries import revise as module
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.revise import ReviseBatch
from streaming.queries.score import Publishing
from streaming.queries.supervisor import Gate, StoppingError
from streaming.tables import TABLES
from tests.conftest import Trained
from tests.stream_fixtures import killed_while_publishing, messages, with_topics
from tests.streaming.queries.test_refine import archived, complaint, land, refine

DONE = Trigger(until_done=True)
FRAUD = "They opened an account in my name. This is identity theft and fraud, and I filed a police report."


@pytest.fixture
def lake(trained: Trained, lake: Lake, shared_broker: Broker, tmp_path: Path) -> Lake:
    """An empty lake with the champion, and topics of its own."""
    shutil.copytree(trained.lake.settings.folder / "mlflow", lake.settings.folder / "mlflow")
    own = Lake(lake.spark, with_topics(lake.settings, shared_broker, tmp_path.name))
    ensure_topics(own.settings.kafka, shared_broker.bootstrap_servers)
    own.create(TABLES)
    return own


def publishing(lake: Lake) -> Publishing:
    kafka = lake.settings.kafka
    return Publishing(kafka.predictions.name, spark_kafka_options(lake, str(kafka.bootstrap_servers)))


def decide(lake: Lake, model: Model) -> None:
    queries, sink = Queries(lake), publishing(lake)
    follow(queries.score(model, sink, DONE), lambda _: None)
    follow(queries.revise(model, sink, DONE), lambda _: None)
    follow(queries.summarise(DONE), lambda _: None)


def arrive(lake: Lake, values: list[str], first_offset: int) -> None:
    """Land messages, and refine them in a query that runs on: a start takes longer than all the rest."""
    land(lake, values, first_offset)
    running = [query for query in lake.spark.streams.active if query.name == "refine"]
    query = running[0] if running else Queries(lake).refine(Trigger())
    query.processAllAvailable()


def move_checkpoint_away(lake: Lake, query: str) -> None:
    """Stop a query if it runs, and remove its checkpoint."""
    for each in lake.spark.streams.active:
        if each.name == query:
            each.stop()
    shutil.rmtree(lake.checkpoint(query))


def decisions(lake: Lake) -> dict[str, Any]:
    return {row.record_id: row for row in lake.read(DECISIONS).collect()}


def sums(lake: Lake) -> list[tuple[int, int]]:
    rows = [lake.read(table).groupBy().sum("complaints", "escalated").first() for table in (BY_MINUTE, BY_DAY)]
    return [(row[0], row[1]) for row in rows if row]


def test_a_revised_complaint_is_decided_again_and_says_what_it_replaces(lake: Lake, trained: Trained) -> None:
    arrive(lake, [complaint(1, Date_received="2023-05-04"), complaint(2)], 0)
    decide(lake, trained.model)
    arrive(lake, [complaint(1, Product="Debt collection", Issue="Written notification about debt")], 10)
    arrive(lake, [complaint(1, Product="Debt collection", Issue=None, State="CA", narrative=FRAUD)], 20)
    decide(lake, trained.model)

    found = decisions(lake)
    assert [(record[-2:], row.version) for record, row in sorted(found.items())] == [("/0", 1), ("/1", 1), ("20", 3)]
    first, again = found["complaints-input/0/0"], found["complaints-input/0/20"]
    assert again.replaces.record_id == first.record_id
    assert again.replaces.urgency == first.urgency
    assert again.product == "Debt collection"
    assert again.issue == "Written notification about debt", "the latest that was reported"
    assert again.scored_with == "text"
    assert again.batch_id is None
    assert sums(lake) == [(2, again.escalate + found["complaints-input/0/1"].escalate)] * 2
    ((current, *_),) = (
        lake.spark.sql(DECISIONS.views[0].sql.format(table=lake.identifier(DECISIONS)))
        .where("complaint_id = 1")
        .select("record_id")
        .collect(),
    )
    assert current.record_id == again.record_id


def test_nobody_loses_a_deadline_by_a_revision(lake: Lake, trained: Trained) -> None:
    arrive(lake, [complaint(1, Date_received="2023-05-04", narrative=FRAUD)], 0)
    arrive(lake, [complaint(1, Date_received="2023-06-29", narrative=FRAUD)], 10)
    arrive(lake, [complaint(1, Date_received="2023-04-01", narrative=FRAUD)], 20)
    decide(lake, trained.model)
    first, again = (row for _, row in sorted(decisions(lake).items()))
    assert (first.version, again.version) == (1, 3)
    assert again.due_on < first.due_on
    arrive(lake, [complaint(1, Date_received="2023-07-01", narrative=FRAUD)], 30)
    decide(lake, trained.model)
    last = decisions(lake)["complaints-input/0/30"]
    assert str(last.date_received) == "2023-07-01"
    assert last.due_on == again.due_on
    assert last.replaces.version == 3


@pytest.mark.parametrize("listed", [0, 1_000], ids=["many", "few"])
def test_what_a_revision_leaves_out_comes_from_earlier_versions(
    lake: Lake, trained: Trained, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr(module, "LISTED", listed)
    own = complaint(2, narrative=FRAUD, ZIP_code="33009")
    arrive(lake, [complaint(1, Tags="Servicemember", ZIP_code="33009"), own], 0)
    arrive(lake, [archived(1, FRAUD)], 10)
    arrive(lake, [complaint(1, Company="OTHER BANK", State=None, Tags=None), complaint(2, Company="OTHER BANK")], 20)
    arrive(lake, [archived(1, FRAUD + " Again."), complaint(1, Sub_product="FHA mortgage", Company=None)], 30)
    (*_, last) = lake.read(REVISIONS).orderBy("version").collect()
    assert [row.version for row in lake.read(REVISIONS).orderBy("version").collect()] == [2, 2, 3, 4]
    assert not last.is_complete
    assert lake.read(NARRATIVES).count() == 1
    decide(lake, trained.model)
    again = decisions(lake)["complaints-input/0/31"]
    assert (again.version, again.company, again.state, again.is_servicemember) == (4, "OTHER BANK", "FL", True)
    assert again.scored_with == "text"
    assert again.team == decisions(lake)["complaints-input/0/0"].team
    assert (other := decisions(lake)["complaints-input/0/21"]).company == "OTHER BANK"
    assert other.scored_with == decisions(lake)["complaints-input/0/1"].scored_with == "text"


def test_a_first_revision_is_completed_from_the_intake_and_a_late_narrative_alone(
    lake: Lake, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    near = ReviseBatch._near

    def recorded(batch: ReviseBatch, table: Table, complaints: Collection[int], spark: SparkSession) -> DataFrame:
        read[-1].append(table.name)
        return near(batch, table, complaints, spark)

    monkeypatch.setattr(ReviseBatch, "_near", recorded)
    tagged = {"Tags": "Servicemember", "Company": "BANK"}
    arrive(lake, [complaint(1, narrative=FRAUD, **tagged), complaint(2, **tagged)], 0)
    arrive(lake, [archived(2, FRAUD)], 10)
    for offset, revised in ((20, complaint(1, Company="OTHER", narrative=FRAUD)), (30, complaint(2, Company="OTHER"))):
        arrive(lake, [revised], offset)
        read.append([])
        decide(lake, trained.model)
        again = decisions(lake)[f"complaints-input/0/{offset}"]
        assert (again.version, again.company, again.is_servicemember) == (2, "OTHER", True)
        assert again.scored_with == "text"
    assert read == [[DECISIONS.name, COMPLAINTS.name], [DECISIONS.name, COMPLAINTS.name, NARRATIVES.name]]


def test_a_killed_batch_is_decided_once_and_published_again_with_the_same_content(
    lake: Lake, trained: Trained, monkeypatch: pytest.MonkeyPatch, shared_broker: Broker
) -> None:
    arrive(lake, [complaint(1), complaint(2)], 0)
    decide(lake, trained.model)
    arrive(lake, [complaint(1, Company="OTHER BANK"), complaint(2, State="CA")], 10)

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", killed_while_publishing)
        with pytest.raises(ComplaintsError, match="InterruptedError"):
            follow(Queries(lake).revise(trained.model, publishing(lake), DONE), lambda _: None)
    stored = decisions(lake)
    assert len(stored) == 4
    score_backlog(lake.settings, lambda *_: None)
    decide(lake, trained.model)
    assert decisions(lake) == stored
    published: dict[str, set[bytes]] = {}
    for _, value in messages(shared_broker, lake.settings.kafka.predictions.name):
        published.setdefault(json.loads(value)["record_id"], set()).add(value)
    assert {record: len(values) for record, values in published.items()} == dict.fromkeys(stored, 1)
    assert sums(lake)[0][0] == sums(lake)[1][0] == 2


def test_moving_the_checkpoints_away_decides_nothing_twice(lake: Lake, trained: Trained) -> None:
    arrive(lake, [complaint(1), complaint(2)], 0)
    arrive(lake, [complaint(1, Company="OTHER BANK")], 10)
    arrive(lake, [complaint(1, Company="A THIRD BANK"), complaint(1, Company="A THIRD BANK")], 20)
    decide(lake, trained.model)
    tables = (COMPLAINTS, DUPLICATES, REVISIONS, DECISIONS)
    before = {table: lake.read(table).count() for table in tables}
    for query in ("refine", "score", "revise"):
        move_checkpoint_away(lake, query)
    refine(lake)
    decide(lake, trained.model)
    assert (
        {table: lake.read(table).count() for table in tables} == before == dict(zip(tables, (2, 3, 2, 3), strict=True))
    )
    arrive(lake, [complaint(1, Company="A THIRD BANK"), complaint(1, Company="BANK")], 30)
    assert [row.version for row in lake.read(REVISIONS).orderBy("version").collect()] == [2, 3, 4]


def test_a_version_left_out_for_a_later_one_stays_left_out_when_batches_are_cut_otherwise(
    lake: Lake, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(lake, [complaint(1)], 0)
    arrive(lake, [complaint(1, Company="OTHER BANK")], 10)
    arrive(lake, [complaint(1, Company="A THIRD BANK")], 20)
    decide(lake, trained.model)
    assert [row.version for row in lake.read(DECISIONS).orderBy("version").collect()] == [1, 3]
    move_checkpoint_away(lake, "revise")
    monkeypatch.setattr("streaming.queries.definitions.MERGED_FILES", 1)
    decide(lake, trained.model)
    assert [row.version for row in lake.read(DECISIONS).orderBy("version").collect()] == [1, 3]


def test_a_revision_waits_for_the_decision_that_it_replaces(lake: Lake, trained: Trained) -> None:
    arrive(lake, [complaint(1)], 0)
    arrive(lake, [complaint(1, Company="OTHER BANK")], 10)
    with pytest.raises(ComplaintsError, match="1 revised complaints have no decision on their first intake"):
        follow(Queries(lake).revise(trained.model, None, DONE), lambda _: None)
    waited = []

    def score_meanwhile(undecided: int) -> None:
        waited.append(undecided)
        follow(Queries(lake).score(trained.model, None, DONE), lambda _: None)

    batch = ReviseBatch(lake, Guard(lake, "q"), Queries(lake).scoring(trained.model), None, score_meanwhile)
    batch(lake.read(REVISIONS), 0)
    assert waited == [1]
    assert [row.version for row in lake.read(DECISIONS).orderBy("version").collect()] == [1, 2]
    gate = Gate()
    gate.close()
    with pytest.raises(StoppingError):
        gate.pause(1)


def test_a_row_read_by_refine_twice_keeps_its_version(lake: Lake) -> None:
    arrive(lake, [complaint(1)], 0)
    arrive(lake, [complaint(1, Company="OTHER BANK")], 10)
    lake.delta(DUPLICATES).delete("true")  # as if killed between two commits
    move_checkpoint_away(lake, "refine")
    refine(lake)
    assert lake.read(REVISIONS).count() == lake.read(DUPLICATES).count() == 1
    assert lake.read(bronze.COMPLAINTS).count() == 2
