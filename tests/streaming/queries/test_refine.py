"""The refine query accounts for every row once, whatever arrives and wherever it is killed."""

import base64
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from bronze import tables as bronze
from bronze.land import landed_from_kafka
from lakehouse.settings import Settings, load_settings
from lakehouse.spark.per_batch import stamped
from lakehouse.spark.planned import Planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import USER_METADATA, Lake
from silver import tables as silver
from silver.expectations import load_expectations
from silver.tables import (
    COMPLAINTS,
    DUPLICATES,
    EXPECTATIONS,
    NARRATIVES,
    OUTCOME_REPORTS,
    OUTCOMES,
    QUARANTINE,
    REVISIONS,
)
from streaming.batch.load import refine as refine_and_merge
from streaming.queries.definitions import Queries
from streaming.queries.merge import MergeBatch
from streaming.queries.refine import RefineBatch

GOOD = {
    "Date received": "2023-05-04",
    "Product": "Mortgage",
    "Issue": "Struggling to pay mortgage",
    "Company": "BANK",
    "State": "FL",
}
NAMES = {"narrative": "Consumer complaint narrative", "response": "Company response to consumer"}
WRITTEN = (COMPLAINTS, REVISIONS, NARRATIVES, OUTCOME_REPORTS, QUARANTINE, DUPLICATES, EXPECTATIONS)


def complaint(number: object, **changes: object) -> str:
    """Return a complaint as JSON with changed values; None removes a key."""
    changed = {"Complaint ID": number, **GOOD}
    changed |= {NAMES.get(name, name.replace("_", " ")): value for name, value in changes.items()}
    return json.dumps({name: value for name, value in changed.items() if value is not None})


def archived(number: int, narrative: str) -> str:
    """Return a row of the narrative archive."""
    return json.dumps({"Complaint ID": number, "Consumer complaint narrative": narrative})


def messages(spark: SparkSession, values: Sequence[str | bytes | None], first_offset: int = 0) -> DataFrame:
    """Return messages with the columns of Spark's Kafka source."""
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    records = [
        {"value": None if value is None else base64.b64encode(value).decode(), "offset": first_offset + at}
        for at, value in enumerate(raw)
    ]
    literal = F.from_json(F.lit(json.dumps(records)), "array<struct<value: binary, offset: bigint>>")
    return (
        spark.range(1)
        .select(F.inline(literal))
        .withColumns({"topic": F.lit("complaints-input"), "partition": F.lit(0), "timestamp": F.current_timestamp()})
        .withColumn("headers", F.lit(None).cast("array<struct<key:string,value:binary>>"))
    )


def land(lake: Lake, values: Sequence[str | bytes | None], first_offset: int = 0) -> None:
    rows = messages(lake.spark, values, first_offset).transform(landed_from_kafka)
    lake.append(stamped(rows, "ingested_at"), bronze.COMPLAINTS, f"test:{first_offset}")


def refine(lake: Lake) -> None:
    refine_and_merge(lake, lambda _: None)


def merge(lake: Lake) -> list[Row]:
    """Merge all outcome reports; return the outcomes."""
    MergeBatch(lake, Guard(lake, "merge"))(lake.read(OUTCOME_REPORTS), 0)
    return rows_of(lake, OUTCOMES)


def rows_of(lake: Lake, table: Table) -> list[Row]:
    """Return a table's rows, sorted, without the times at which batches wrote them."""
    return sorted(lake.read(table).drop("refined_at", "observed_at").collect(), key=str)


def place(row: Row) -> int:
    return int(row.record_id.rpartition("/")[2])


# Payloads, and the reasons (a list) or the warnings (a tuple) that they must get.
ARRIVING: dict[str, tuple[str | bytes | None, list[str] | tuple[str, ...]]] = {
    "a good one": (complaint(1), ()),
    "no value": (None, ["empty_payload"]),
    "an empty value": ("", ["empty_payload"]),
    "not JSON": ("hello", ["not_json"]),
    "JSON that was cut off": (complaint(2)[:-10], ["not_json"]),
    "an array": (f"[{complaint(2)}, {complaint(3)}]", ["array_not_object"]),
    "an id of 40 digits": (complaint(int("9" * 40)), ["complaint_id_not_numeric"]),
    "a number of 5000 digits": ('{"Complaint ID": ' + "9" * 5000 + "}", ["not_json"]),
    "objects in objects, very deep": ('{"a":' * 100_000, ["not_json"]),
    "a narrative of 500,000 characters": (complaint(2, narrative="word " * 100_000), ["narrative_too_long"]),
    "a company of 500,000 characters": (complaint(2, Company="word " * 100_000), ["field_too_long"]),
    "a payload of 5 MB": (complaint(2, narrative="word " * 1_000_000), ["payload_too_large"]),
    "an array of 5 MB": (f"[{complaint(2, narrative='word ' * 1_000_000)}]", ["payload_too_large"]),
    "the longest narrative there may be, in escapes": (complaint(8, narrative="é" * 100_000), ()),
    "another encoding": (complaint(2, Company="Crédit").replace("\\u00e9", "é").encode("latin-1"), ["not_utf8"]),
    "a NUL byte": (complaint(2).replace("BANK", "B\0NK"), ["nul_bytes"]),
    "an escaped NUL": (complaint(2, Company="B\0NK"), ["nul_bytes"]),
    "no id": (complaint(None), ["complaint_id_missing"]),
    "an id that is no number": (complaint("A-17"), ["complaint_id_not_numeric"]),
    "a negative id": (complaint(-5), ["complaint_id_not_numeric"]),
    "a date in the future": (complaint(2, Date_received="2090-01-01"), ["date_received_in_future"]),
    "a date before 2011": (complaint(2, Date_received="2010-12-31"), ["date_received_before_2011"]),
    "no such day": (complaint(2, Date_received="2023-02-30"), ["date_received_unreadable"]),
    "sent before it was received": (complaint(2, Date_sent_to_company="2023-04-01"), ["sent_before_received"]),
    "a field that is an object": (complaint(2, Company={"name": "BANK"}), ["field_not_scalar"]),
    "a key twice": (complaint(2)[:-1] + ', "state": "CA"}', ["duplicated_key"]),
    "columns without names, twice": (complaint(4)[:-1] + ', "": "1", "": "2"}', ()),
    "an unknown product": (complaint(5, Product="Time travel"), ("product_unknown",)),
    "an unknown state": (complaint(6, State="Mars"), ("state_unknown",)),
    "nothing but redactions": (complaint(7, narrative="XXXX " * 15_000), ()),
    "a narrative without its complaint": (archived(99, "Whose?"), ["narrative_without_complaint"]),
    "several faults": (
        complaint("A-17", Date_received="soon", State="Mars"),
        ["complaint_id_not_numeric", "date_received_unreadable"],
    ),
}


def test_every_payload_is_stored_or_quarantined_with_its_reasons(lake: Lake) -> None:
    lake.create((bronze.COMPLAINTS, *silver.TABLES))
    land(lake, [value for value, _ in ARRIVING.values()])
    refine(lake)
    refused = {place(row): row for row in rows_of(lake, QUARANTINE)}
    stored = {place(row): row for row in rows_of(lake, COMPLAINTS)}
    assert len(refused) + len(stored) == lake.read(bronze.COMPLAINTS).count() == len(ARRIVING)
    for offset, (name, (_, verdict)) in enumerate(ARRIVING.items()):
        if isinstance(verdict, list):
            assert refused[offset].reasons == verdict, name
            assert (refused[offset].topic, refused[offset].offset) == ("complaints-input", offset)
        else:
            assert stored[offset].warnings == list(verdict), name
    assert {row.complaint_id: row.state for row in stored.values()}[6] is None

    broken = Counter(rule for row in refused.values() for rule in (*row.reasons, *row.warnings))
    broken.update(rule for row in stored.values() for rule in row.warnings)
    del broken["narrative_without_complaint"]  # not a rule that applies to a single row
    counted = rows_of(lake, EXPECTATIONS)
    assert {row.rule: row.broken for row in counted} == broken
    assert {row.checked for row in counted} == {len(ARRIVING)}


def test_duplicates_add_outcomes_and_narratives_and_never_change_the_intake(lake: Lake) -> None:
    lake.create((bronze.COMPLAINTS, *silver.TABLES))
    land(lake, [complaint(1), complaint(2, narrative="Its own"), complaint(3, response="In progress")])
    refine(lake)
    intake = rows_of(lake, COMPLAINTS)
    later = [
        complaint(1, Company="ANOTHER", response="Closed with monetary relief", Date_sent_to_company="2023-05-09"),
        archived(1, "It came late"),
        complaint(2, narrative="Its own"),
        complaint(3, response="Closed with explanation"),
        complaint(3, response="In progress"),
    ]
    land(lake, later, first_offset=3)
    refine(lake)
    assert rows_of(lake, COMPLAINTS) == intake
    assert {place(row): (row.kind, row.changed_fields) for row in rows_of(lake, DUPLICATES)} == {
        3: ("revised", ["company"]),
        4: ("narrative", []),
        5: ("unchanged", []),
        6: ("outcome", []),
        7: ("unchanged", []),
    }
    assert [(row.complaint_id, row.narrative) for row in rows_of(lake, NARRATIVES)] == [(1, "It came late")]
    outcomes = {row.complaint_id: row for row in rows_of(lake, OUTCOMES)}
    assert {number: row.response_class for number, row in outcomes.items()} == {1: "monetary_relief", 3: "explanation"}
    assert (outcomes[1].processing_days, outcomes[1].successful_resolution) == (5, True)
    assert lake.read(bronze.COMPLAINTS).count() == 8 == len(intake) + 5

    versions = {table: lake.version(table) for table in WRITTEN}
    refine(lake)
    assert {table: lake.version(table) for table in WRITTEN} == versions, "without new rows nothing is written"


class InterruptedBatchError(Exception):
    """Simulates a kill in the middle of a batch."""


class DyingLake(Lake):
    """A lake in which some tables can no longer be written."""

    def __init__(self, lake: Lake, dead: Sequence[Table]) -> None:
        super().__init__(lake.spark, lake.settings)
        self._dead = dead

    def append(self, rows: DataFrame, table: Table, mark: str) -> None:
        if table in self._dead:
            raise InterruptedBatchError
        super().append(rows, table, mark)

    def delta(self, table: Table, spark: SparkSession | None = None) -> Any:  # noqa: ANN401
        if table in self._dead:
            raise InterruptedBatchError
        return super().delta(table, spark)


QUERY = "0b5b2d1e-query"
FIRST = [
    complaint(1),
    complaint(2, response="In progress", State="Mars"),
    complaint(3, narrative="Its own"),
    complaint(4, Date_received="soon"),
]
# Writes all six tables, and has to compare with the stored rows.
REPEATING = [
    complaint(1, response="Closed with monetary relief"),
    complaint(2, response="Closed with explanation", Date_sent_to_company="2023-05-09"),
    complaint(2, response="In progress"),
    complaint(3, narrative="Another", Company="OTHER"),
    complaint(3, Date_received="soon", response="Closed with relief"),
    complaint(5, response="In progress"),
    complaint(5, response="Closed with relief", narrative="Late"),
    complaint(5),
    archived(1, "Came late"),
    archived(1, "Came later"),
    archived(9, "Whose?"),
    "no json",
]
# All new: written without a comparison.
FRESH = [complaint(11, response="Closed"), complaint(12, Product="Time travel"), complaint(13), "no json"]
AFTER = [complaint(11, State="CA"), complaint(21), complaint(1, Timely_response="Yes"), archived(3, "Its own")]


@cache
def planned_once(step: Step) -> Step:
    """The step, planned once for all batches of these tests; those of a real query have columns of their own."""
    return Planned(step)


class Refinery:
    """Runs batches as the query does, over a separate lake."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.lake = Lake(spark, settings)
        self._expectations = load_expectations(spark)
        self._step = planned_once(Queries(self.lake).refining(self._expectations))
        self._frames: dict[int, DataFrame] = {}
        self.writer = self.restarted()

    def restarted(self, dead: Sequence[Table] = ()) -> RefineBatch:
        """Return the batch writer of a restarted query."""
        return RefineBatch(DyingLake(self.lake, dead), Guard(self.lake, QUERY), QUERY, self._expectations)

    def batch(self, number: int, payloads: Sequence[str]) -> DataFrame:
        """Return the same rows each time, as Spark does when it runs a batch again."""
        day = F.timestamp_seconds(F.lit(1_700_000_000 + number * 86_400))
        landed = messages(self.lake.spark, payloads, number * 100).transform(landed_from_kafka)
        rows = landed.withColumns({"ingested_at": day, "kafka_timestamp": day})
        return rows.transform(self._step).localCheckpoint()

    def state(self) -> dict[str, list[Row]]:
        return {table.name: rows_of(self.lake, table) for table in WRITTEN}


@pytest.fixture
def _no_mark_left(spark: SparkSession) -> Iterator[None]:
    yield
    spark.conf.unset(USER_METADATA)


@pytest.fixture(scope="module")
def base(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refinery]:
    """A lake with one batch in it."""
    refinery = Refinery(spark, load_settings(root=tmp_path_factory.mktemp("refine") / "base"))
    refinery.lake.create((*WRITTEN, OUTCOMES))
    refinery.writer(refinery.batch(0, FIRST), 0)
    yield refinery
    spark.conf.unset(USER_METADATA)


@pytest.fixture
def copy_of(base: Refinery, tmp_path: Path) -> Callable[[str], Refinery]:
    """A function that copies the lake with one batch in it."""

    def copied(name: str) -> Refinery:
        shutil.copytree(base.lake.settings.folder, tmp_path / name)
        return Refinery(base.lake.spark, load_settings(root=tmp_path / name))

    return copied


@pytest.mark.usefixtures("_no_mark_left")
@pytest.mark.parametrize("payloads", [REPEATING, FRESH], ids=["repeating", "fresh"])
def test_a_batch_killed_between_its_tables_ends_as_if_it_had_run_once(
    base: Refinery, copy_of: Callable[[str], Refinery], payloads: list[str]
) -> None:
    once = copy_of("once")
    batch, after = once.batch(1, payloads), once.batch(2, AFTER)
    once.writer = once.restarted()
    once.writer(batch, 1)
    expected = once.state()
    touched = [table for table in WRITTEN if once.lake.version(table) > base.lake.version(table)]
    assert len(touched) == (7 if payloads is REPEATING else 4)
    once.writer(after, 2)
    expected_after = once.state()

    half = len(touched) // 2
    cuts = [[], touched[:half], touched[half:], touched]  # the tables are written in parallel: any may be first
    for number, done in enumerate(cuts):
        killed = copy_of(f"killed-{number}")
        dead = [table for table in touched if table not in done]
        if dead:
            with pytest.raises(InterruptedBatchError):
                killed.restarted(dead)(batch, 1)
        else:
            killed.restarted()(batch, 1)
        versions = {table: killed.lake.version(table) for table in done}
        again = killed.restarted()
        again(batch, 1)
        assert killed.state() == expected, f"{[table.name for table in done]} were written before the kill"
        assert {table: killed.lake.version(table) for table in done} == versions, "no commit is repeated"
    again(after, 2)
    assert killed.state() == expected_after, "the next batch continues from there"


@pytest.mark.usefixtures("_no_mark_left")
def test_every_commit_of_a_batch_carries_its_mark(copy_of: Callable[[str], Refinery]) -> None:
    refinery = copy_of("marks")
    refinery.restarted()(refinery.batch(1, REPEATING), 1)
    for table in WRITTEN:
        (commit,) = refinery.lake.delta(table).history(1).collect()
        assert commit.userMetadata == f"{QUERY}:1", table.name


@pytest.mark.usefixtures("_no_mark_left")
def test_each_row_goes_to_one_table_however_rows_are_split_into_batches(copy_of: Callable[[str], Refinery]) -> None:
    rows = [*REPEATING, *FRESH, *AFTER]
    states = []
    for size in (len(rows), 7):
        refinery = copy_of(f"batches-of-{size}")
        writer = refinery.restarted()
        for number, start in enumerate(range(0, len(rows), size), start=1):
            writer(refinery.batch(number, rows[start : start + size]), number)
        state = refinery.state()
        parts = [row.record_id for name in (COMPLAINTS.name, DUPLICATES.name, QUARANTINE.name) for row in state[name]]
        assert len(parts) == len(set(parts)) == len(FIRST) + len(rows)
        states.append(
            {
                "complaints": sorted((row.complaint_id, row.company) for row in state[COMPLAINTS.name]),
                "narratives": [(row.complaint_id, row.narrative) for row in state[NARRATIVES.name]],
                "outcomes": [
                    (row.complaint_id, row.company_response, row.timely_response, row.processing_days)
                    for row in merge(refinery.lake)
                ],
            }
        )
    assert states[0] == states[1]
