"""A stored row is not written again and a missing row is, whatever marks, checkpoints and rules say.

Batches as Spark passes them to a query; `test_refine` covers batches that are cut off by a kill.
"""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze import tables as bronze
from bronze.land import landed_from_kafka
from gold.decide import load_decisions
from gold.decisions import decisions
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import scored
from silver import tables as silver
from silver.expectations import load_expectations
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOME_REPORTS, OUTCOMES, QUARANTINE
from streaming.batch.load import follow
from streaming.queries.definitions import Queries, Trigger
from streaming.queries.refine import RefineBatch
from streaming.queries.score import ScoreBatch
from tests.conftest import Trained
from tests.streaming.queries.test_refine import (
    QUERY,
    WRITTEN,
    DyingLake,
    InterruptedBatchError,
    _no_mark_left,
    archived,
    complaint,
    land,
    merge,
    messages,
    planned_once,
    refine,
    rows_of,
)

__all__ = ["_no_mark_left"]  # the fixture

pytestmark = pytest.mark.usefixtures("_no_mark_left")

DONE = Trigger(until_done=True)
ARRIVED = [
    [complaint(1), complaint(2, response="In progress"), complaint(3, Date_received="soon"), "no json"],
    [
        complaint(1, response="Closed with monetary relief"),
        complaint(2, response="Closed with explanation"),
        archived(1, "Came late"),
        complaint(4),
    ],
]


def placed(lake: Lake) -> dict[str, int]:
    """Return the row counts by table, after asserting that no record is in two tables."""
    counts = {table.name: len(rows_of(lake, table)) for table in (COMPLAINTS, DUPLICATES, QUARANTINE)}
    records = [row.record_id for table in (COMPLAINTS, DUPLICATES, QUARANTINE) for row in rows_of(lake, table)]
    assert len(records) == len(set(records))
    for table in (COMPLAINTS, OUTCOMES, NARRATIVES):
        numbers = [row.complaint_id for row in rows_of(lake, table)]
        assert len(numbers) == len(set(numbers)), table.name
    return counts


def test_moving_the_refine_checkpoint_away_adds_nothing_and_the_query_continues(lake: Lake) -> None:
    lake.create((bronze.COMPLAINTS, *silver.TABLES))
    for number, values in enumerate(ARRIVED):
        land(lake, values, first_offset=10 * number)
        refine(lake)
    before, versions = {table: rows_of(lake, table) for table in WRITTEN}, {t: lake.version(t) for t in WRITTEN}
    shutil.rmtree(lake.checkpoint("refine"))
    refine(lake)
    assert {table: rows_of(lake, table) for table in WRITTEN} == before
    assert {table: lake.version(table) for table in WRITTEN} == versions, "nothing is missing, nothing is written"
    land(lake, [complaint(4, State="CA"), complaint(5), "nor json"], first_offset=20)
    refine(lake)
    assert placed(lake) == {COMPLAINTS.name: 4, DUPLICATES.name: 4, QUARANTINE.name: 3}


class Refinery:
    """Runs batches as the query does, with rules that may change."""

    def __init__(self, lake: Lake, without: str = "") -> None:
        self.lake = lake
        self.rules = tuple(rule for rule in load_expectations(lake.spark) if rule.id != without)
        self._step = planned_once(Queries(lake).refining(self.rules))

    def run(self, number: int, payloads: list[str], dead: tuple[Table, ...] = (), query: str = QUERY) -> None:
        lake = DyingLake(self.lake, dead)
        RefineBatch(lake, Guard(lake, query), query, self.rules)(self.batch(number, payloads), number)

    def batch(self, number: int, payloads: list[str]) -> DataFrame:
        day = F.timestamp_seconds(F.lit(1_700_000_000 + number * 86_400))
        landed = messages(self.lake.spark, payloads, number * 100).transform(landed_from_kafka)
        return landed.withColumns({"ingested_at": day, "kafka_timestamp": day}).transform(self._step).localCheckpoint()


RULE = "sent_before_received"
BREAKS = {"Date_sent_to_company": "2023-04-01"}


@pytest.mark.parametrize(
    ("payloads", "dead", "expected"),
    [
        (
            [
                *(complaint(1), complaint(2, **BREAKS)),  # quarantined but not yet written: now it passes
                *(complaint(11, **BREAKS), complaint(11, State="CA"), complaint(11)),  # its duplicate is in silver
                *(complaint(21), complaint(21, response="Closed", **BREAKS), "no json"),
            ],
            (QUARANTINE, DUPLICATES),
            (4, 3, 1),
        ),
        # Already in quarantine, but its complaint is not yet in silver.
        ([complaint(1), complaint(1, response="Closed", **BREAKS)], (COMPLAINTS, DUPLICATES), (1, 0, 1)),
    ],
)
def test_after_a_kill_and_a_loosened_rule_every_row_is_in_one_place(
    lake: Lake, payloads: list[str], dead: tuple[Table, ...], expected: tuple[int, int, int]
) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    with pytest.raises(InterruptedBatchError):
        Refinery(lake).run(1, payloads, dead)
    Refinery(lake, without=RULE).run(1, payloads)
    assert tuple(placed(lake).values()) == expected
    assert [row.complaint_id for row in merge(lake) if row.company_response] == [21] * (len(payloads) > 2)


def test_after_a_kill_and_a_tightened_rule_every_row_is_in_one_place(lake: Lake) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    payloads = [complaint(1, **BREAKS), complaint(1, response="Closed"), complaint(2, **BREAKS), complaint(3)]
    with pytest.raises(InterruptedBatchError):
        Refinery(lake, without=RULE).run(1, payloads, dead=(DUPLICATES,))
    Refinery(lake).run(1, payloads)
    assert placed(lake) == {COMPLAINTS.name: 3, DUPLICATES.name: 1, QUARANTINE.name: 0}


def test_a_duplicates_updates_are_applied_once_and_no_older_answer_replaces_a_newer_one(lake: Lake) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    refinery = Refinery(lake)
    first, second = (
        [complaint(1), complaint(1, response="Closed with explanation")],
        [complaint(1, response="Closed with monetary relief"), archived(1, "Came late")],
    )
    refinery.run(0, first)
    with pytest.raises(InterruptedBatchError):
        refinery.run(1, second, dead=(OUTCOME_REPORTS, NARRATIVES))
    assert [row.response_class for row in merge(lake)] == ["explanation"]
    for number, payloads in enumerate((first, second)):  # as a query that starts over
        refinery.run(number, payloads, query="another")
        assert [row.narrative for row in rows_of(lake, NARRATIVES)] == ["Came late"] * number
    assert [row.response_class for row in merge(lake)] == ["monetary_relief"]
    refinery.run(0, first, query="a third")
    assert [row.response_class for row in merge(lake)] == ["monetary_relief"]
    assert placed(lake) == {COMPLAINTS.name: 1, DUPLICATES.name: 3, QUARANTINE.name: 0}


def test_a_lake_of_an_earlier_version_without_reports_continues(lake: Lake, tmp_path: Path) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    Refinery(lake).run(0, [complaint(1, response="In progress"), complaint(2, response="Closed")])
    merge(lake)
    shutil.copytree(lake.settings.folder, tmp_path / "old")
    old = Lake(lake.spark, lake.settings.model_copy(update={"root": tmp_path / "old"}))
    shutil.rmtree(old.path(OUTCOME_REPORTS))
    old.create((*WRITTEN, OUTCOMES))
    again = [complaint(1, response="In progress"), complaint(1, response="Closed with relief"), complaint(2)]
    Refinery(old).run(1, again)
    assert [row.kind for row in rows_of(old, DUPLICATES)] == ["unchanged", "outcome", "unchanged"]
    assert {row.complaint_id: row.response_class for row in merge(old)} == {1: "relief", 2: "closed"}


def test_a_row_that_bronze_has_twice_is_written_once(lake: Lake) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    refinery = Refinery(lake)
    rows = refinery.batch(1, [complaint(1, response="Closed"), complaint(2), "no json"])
    RefineBatch(lake, Guard(lake, QUERY), QUERY, refinery.rules)(rows.unionByName(rows), 1)
    assert placed(lake) == {COMPLAINTS.name: 2, DUPLICATES.name: 0, QUARANTINE.name: 1}
    assert len(rows_of(lake, OUTCOME_REPORTS)) == 1


def test_a_batch_after_the_first_reads_no_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.create((*WRITTEN, OUTCOMES))
    refinery = Refinery(lake)
    write = RefineBatch(lake, Guard(lake, QUERY), QUERY, refinery.rules)
    batches = [refinery.batch(number, [complaint(number), complaint("A")]) for number in (1, 2, 3)]
    write(batches[0], 1)
    write(batches[1], 2)

    def refused(*_: object, **__: object) -> None:
        pytest.fail("a table was read")

    monkeypatch.setattr(lake, "read", refused)
    write(batches[2], 3)
    monkeypatch.undo()
    assert placed(lake) == {COMPLAINTS.name: 3, DUPLICATES.name: 0, QUARANTINE.name: 3}


@pytest.fixture
def decided(trained: Trained) -> DataFrame:
    complaints = trained.lake.read(COMPLAINTS).orderBy("complaint_id").limit(20)
    rules = load_decisions(trained.lake.spark, COMPLAINTS.schema)
    return complaints.transform(scored(trained.model)).transform(decisions(rules)).localCheckpoint()


def test_moving_the_score_checkpoint_away_adds_nothing(lake: Lake, decided: DataFrame) -> None:
    lake.create([DECISIONS])
    half = decided.select("complaint_id").sort("complaint_id").collect()[10].complaint_id
    ScoreBatch(lake, Guard(lake, "q"), None)(decided.where(F.col("complaint_id") < half), 0)
    restarted = ScoreBatch(lake, Guard(lake, "another"), None)
    restarted(decided.where(F.col("complaint_id") <= half), 0)
    restarted(decided, 1)
    stored = lake.read(DECISIONS)
    assert stored.count() == stored.select("complaint_id").distinct().count() == 20
    version = lake.version(DECISIONS)
    ScoreBatch(lake, Guard(lake, "a third"), None)(decided, 0)
    assert lake.version(DECISIONS) == version


def test_moving_the_summarise_checkpoint_away_recomputes_the_sums(lake: Lake, decided: DataFrame) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    ScoreBatch(lake, Guard(lake, "q"), None)(decided, 0)
    for _ in range(2):
        follow(Queries(lake).summarise(DONE), lambda _: None)
        assert sums(lake) == [20, 20]
        shutil.rmtree(lake.checkpoint("summarise"))


def sums(lake: Lake) -> list[int]:
    return [lake.read(table).agg(F.sum("complaints")).collect()[0][0] for table in (BY_MINUTE, BY_DAY)]


def test_an_older_summarise_checkpoint_is_refused_with_instructions(
    lake: Lake, decided: DataFrame, tmp_path: Path
) -> None:
    lake.create([DECISIONS, BY_MINUTE, BY_DAY])
    checkpoint = Path(lake.checkpoint("summarise"))
    for number, rows in enumerate((decided.limit(5), decided.limit(10), decided)):
        ScoreBatch(lake, Guard(lake, "q"), None)(rows, number)
        follow(Queries(lake).summarise(DONE), lambda _: None)
        if number == 0:
            shutil.copytree(checkpoint, tmp_path / "older")
    shutil.rmtree(checkpoint)
    shutil.copytree(tmp_path / "older", checkpoint)
    with pytest.raises(ComplaintsError, match=r"is at batch 0, but gold already has batch 2.* Move the folder away"):
        Queries(lake).summarise(DONE)
    shutil.rmtree(checkpoint)
    follow(Queries(lake).summarise(DONE), lambda _: None)
    assert sums(lake) == [20, 20]
