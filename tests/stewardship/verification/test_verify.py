"""Each invariant is broken by hand in a copy of one lake, and then it alone is found broken; what waits is no loss.

Real messages on a real broker, streamed to the published decisions. A table is broken by a commit that puts other rows
in the place of all of its own.
"""

# ruff: noqa: S608 - the statements of tests are their own

import json
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.sql.pinned import newest_version
from lakehouse.sql.query import _delta_extension, query
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake, table_path
from silver import tables as silver
from stewardship.verification.verify import Verified, verify
from streaming.batch.load import follow
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import messages, with_topics

DONE = Trigger(until_done=True)
NEW = 8_000_000  # above the ids of the samples


def complaint(number: int, **changed: str) -> dict[str, str]:
    usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
    return {"complaint_id": str(number), **usable, **changed}


MESSAGES = (
    *(json.dumps(complaint(NEW + number)) for number in range(6)),
    json.dumps(complaint(NEW)),  # unchanged
    json.dumps(complaint(NEW + 1, company_response="Closed with explanation")),
    json.dumps(complaint(NEW + 2, complaint_what_happened="They charged me twice.")),
    json.dumps(complaint(NEW + 9, date_received="soon")),
    '{"complaint_id": "8000008", "date_rec',  # broke off
)


def send(settings: Settings, values: tuple[str, ...]) -> None:
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for value in values:
            producer.send(settings.kafka.input.name, value.encode())


def publish(settings: Settings, number: int, value: bytes | None) -> None:
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        producer.send(settings.kafka.predictions.name, key=str(number).encode(), value=value)


class Streaming:
    """The queries of one lake, each run until it has read all."""

    def __init__(self, lake: Lake, trained: Trained) -> None:
        self._queries = Queries(lake)
        self._model = trained.model
        self._kafka = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
        self._publishing = Publishing(lake.settings.kafka.predictions.name, self._kafka)

    def ingest(self) -> None:
        follow(self._queries.ingest(self._kafka, DONE), lambda _: None)

    def refine(self) -> None:
        follow(self._queries.refine(DONE), lambda _: None)

    def score(self) -> None:
        follow(self._queries.score(self._model, self._publishing, DONE), lambda _: None)

    def summarise(self) -> None:
        follow(self._queries.summarise(DONE), lambda _: None)

    def all(self) -> None:
        self.ingest()
        self.refine()
        self.score()
        self.summarise()


@pytest.fixture(scope="module")
def streamed(trained: Trained, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with two loaded files that has streamed these messages."""
    lake = copy_of(trained, tmp_path_factory.mktemp("verified") / "lake")
    settings = with_topics(lake.settings, shared_broker, "verify")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    send(settings, MESSAGES)
    Streaming(Lake(lake.spark, settings), trained).all()
    return settings


@pytest.fixture
def copied(streamed: Settings, tmp_path: Path) -> Settings:
    """A copy of that lake, to be broken."""
    shutil.copytree(streamed.folder, tmp_path / "lake")
    return load_settings(root=tmp_path / "lake").model_copy(update={"kafka": streamed.kafka})


def rewrite(settings: Settings, table: Table, select: str) -> None:
    """Commit the rows that a SELECT over `before` gives in the place of the table's own."""
    folder, version = table_path(settings, table), newest_version(settings, table)
    name = f"part-{uuid.uuid4()}.parquet"
    with closing(duckdb.connect()) as connection:
        connection.execute(f"LOAD '{_delta_extension()}'")
        connection.execute("SET TimeZone = 'UTC'")
        scanned = f"delta_scan('{folder}', version = {version})"
        files = connection.execute(f"SELECT DISTINCT filename FROM delta_scan('{folder}', filename = true)").fetchall()
        connection.execute(f"COPY (WITH before AS (FROM {scanned}) {select}) TO '{folder / name}' (FORMAT parquet)")
    now = time.time_ns() // 1_000_000
    common = {"dataChange": True, "partitionValues": {}}
    add = {"path": name, "size": (folder / name).stat().st_size, "modificationTime": now, **common}
    removed = [{"path": Path(file).name, "deletionTimestamp": now, "dataChange": True} for (file,) in files]
    actions = [{"commitInfo": {"timestamp": now, "operation": "WRITE"}}, {"add": add}]
    lines = [json.dumps(action) for action in (*actions, *({"remove": file} for file in removed))]
    (folder / "_delta_log" / f"{(version or 0) + 1:020}.json").write_text("\n".join(lines))


def found(settings: Settings) -> Verified:
    return verify(settings, lambda _: None)


def broken(settings: Settings) -> dict[str, dict[str, int]]:
    """By invariant that is broken what breaks it."""
    return {one.name: dict(one.broken) for one in found(settings).invariants if not one.holds}


def under_way(settings: Settings) -> dict[str, int]:
    verified = found(settings)
    assert verified.holds, verified
    return {one.name: one.under_way for one in verified.invariants if one.under_way}


def one(settings: Settings, statement: str) -> str:
    return str(query(settings, TABLES, statement).rows[0][0])


def test_every_row_of_a_lake_that_has_loaded_and_streamed_is_counted_and_nothing_is_broken(streamed: Settings) -> None:
    verified = found(streamed)
    assert verified.holds
    assert verified.under_way == 0
    assert {checked.name: checked.counted for checked in verified.invariants} == {
        "messages": 11,
        "bronze": 456,
        "files": 445,
        "replays": 0,
        "places": 456,
        "complaints": 451,
        "narratives": 1,
        "outcomes": 446,
        "decisions": 451,
        "gold": 451,
        "minutes": 451,
        "days": 451,
        "published": 451,
    }
    assert all(not checked.apart and checked.note is None for checked in verified.invariants)


REFUSED = "(SELECT min(record_id) FROM before WHERE source = 'kafka')"
ROW = "record_id LIKE 'verify-input/%'"


def lose_a_message(settings: Settings) -> None:
    """Not in bronze, and so in no place either."""
    gone = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    for table in (silver.QUARANTINE, bronze.COMPLAINTS):
        rewrite(settings, table, f"SELECT * FROM before WHERE record_id <> '{gone}'")


def take_another_message_for_it(settings: Settings) -> None:
    """As where an offset is of another broker, or of a topic that was deleted."""
    rewrite(
        settings,
        bronze.COMPLAINTS,
        'SELECT * REPLACE (CASE WHEN "offset" = 0 THEN kafka_timestamp - INTERVAL 1 HOUR ELSE kafka_timestamp END '
        "AS kafka_timestamp) FROM before",
    )


def land_a_message_twice(settings: Settings) -> None:
    rewrite(settings, bronze.COMPLAINTS, f"FROM before UNION ALL FROM before WHERE record_id = {REFUSED}")


def lose_a_row_of_a_file(settings: Settings) -> None:
    rewrite(settings, bronze.FILES, 'SELECT * REPLACE ("rows" + 1 AS "rows") FROM before ORDER BY sha256')


def replay_a_row_twice(settings: Settings) -> None:
    """Two replays of one refused row, each with a place of its own."""
    refused = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    ids = ", ".join(f"('{refused}@{time}')" for time in (20240301000000000, 20240301000000001))
    mended = 'NULL AS topic, NULL AS "partition", NULL AS "offset", NULL AS kafka_timestamp'
    rewrite(
        settings,
        bronze.COMPLAINTS,
        f"FROM before UNION ALL SELECT before.* REPLACE (id AS record_id, 'replay' AS source, {mended}, record_id AS "
        f"replay_of) FROM before, (VALUES {ids}) AS v(id) WHERE record_id = '{refused}'",
    )
    rewrite(
        settings,
        silver.DUPLICATES,
        "FROM before UNION ALL SELECT b.* REPLACE (id AS record_id) "
        f"FROM (FROM before LIMIT 1) AS b, (VALUES {ids}) AS v(id)",
    )


def note_a_replay_that_never_went(settings: Settings) -> None:
    rewrite(settings, silver.QUARANTINE, "SELECT * REPLACE (now() AS replayed_at) FROM before")


def lose_a_refused_row(settings: Settings) -> None:
    rewrite(settings, silver.QUARANTINE, "FROM before ORDER BY record_id LIMIT 1")


def put_a_row_into_two_places(settings: Settings) -> None:
    known = one(settings, f"SELECT min(record_id) FROM silver.complaints WHERE {ROW}")
    rewrite(
        settings,
        silver.DUPLICATES,
        f"FROM before UNION ALL SELECT * REPLACE ('{known}' AS record_id) FROM (FROM before LIMIT 1)",
    )


def bring_an_erased_row_back(settings: Settings) -> None:
    there = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    rewrite(
        settings,
        bronze.ERASURES,
        f"SELECT '{there}' AS record_id, 1::BIGINT AS complaint_id, 'quarantine' AS destination, now() AS asked_at, "
        "now() AS erased_at",
    )


def refine_a_repeat_as_a_new_complaint(settings: Settings) -> None:
    """Its row moves from the duplicates to the complaints, under the same number."""
    repeat = one(settings, f"SELECT min(record_id) FROM silver.duplicates WHERE {ROW}")
    number = one(settings, f"SELECT complaint_id FROM silver.duplicates WHERE record_id = '{repeat}'")
    rewrite(settings, silver.DUPLICATES, f"FROM before WHERE record_id <> '{repeat}'")
    rewrite(
        settings,
        silver.COMPLAINTS,
        f"FROM before UNION ALL SELECT * REPLACE ('{repeat}' AS record_id) FROM before WHERE complaint_id = {number}",
    )


def double_the_last(table: Table) -> Callable[[Settings], None]:
    doubled = "FROM before UNION ALL FROM (FROM before ORDER BY complaint_id DESC LIMIT 1)"
    return lambda settings: rewrite(settings, table, doubled)


def decide_twice(settings: Settings) -> None:
    """And count it twice, so that the sums agree."""
    double_the_last(gold.DECISIONS)(settings)
    last = "SELECT * FROM gold.decisions ORDER BY complaint_id DESC LIMIT 1"
    measures = (
        "1 AS complaints, escalate::INT AS escalated, (urgency = 'critical')::INT AS critical, "
        "(urgency = 'high')::INT AS high, (scored_with = 'structure')::INT AS without_text, "
        "probability AS probability_sum"
    )
    keys = {
        gold.BY_MINUTE: "date_trunc('minute', kafka_timestamp) AS minute, product_family, urgency",
        gold.BY_DAY: "date_received, product_family, coalesce(issue, '') AS issue, coalesce(company, '') AS company, "
        "coalesce(state, '') AS state",
    }
    waited = (
        ", epoch_ms(scored_at) - epoch_ms(kafka_timestamp) AS latency_ms_sum, 0 AS latency_ms_max, 0 AS scored_batch"
    )
    scanned = f"delta_scan('{table_path(settings, gold.DECISIONS)}')"
    for table, columns in keys.items():
        added = f"SELECT {columns}, {measures}{waited if table is gold.BY_MINUTE else ''} FROM ({last})"
        rewrite(settings, table, f"FROM before UNION ALL BY NAME {added}".replace("gold.decisions", scanned))


def leave_a_complaint_undecided(settings: Settings) -> None:
    """A repeat becomes a complaint of its own, which nobody scores."""
    repeat = one(settings, f"SELECT min(record_id) FROM silver.duplicates WHERE {ROW}")
    rewrite(settings, silver.DUPLICATES, f"FROM before WHERE record_id <> '{repeat}'")
    rewrite(
        settings,
        silver.COMPLAINTS,
        f"FROM before UNION ALL SELECT * REPLACE ('{repeat}' AS record_id, 9000001 AS complaint_id) "
        f"FROM (FROM before LIMIT 1)",
    )


def lose_a_sum(table: Table) -> Callable[[Settings], None]:
    return lambda settings: rewrite(settings, table, "FROM before ORDER BY ALL OFFSET 1")


def change_a_sum(settings: Settings) -> None:
    rewrite(settings, gold.BY_DAY, "SELECT * REPLACE (escalated + 1 AS escalated) FROM before")


BREAKS: dict[Callable[[Settings], None], tuple[str, str, int]] = {
    lose_a_message: ("messages", "lost", 1),
    take_another_message_for_it: ("messages", "lost", 2),
    land_a_message_twice: ("bronze", "twice", 1),
    lose_a_row_of_a_file: ("files", "lost", 2),
    replay_a_row_twice: ("replays", "twice", 1),
    note_a_replay_that_never_went: ("replays", "noted and never sent", 2),
    lose_a_refused_row: ("places", "lost", 1),
    put_a_row_into_two_places: ("places", "in several places", 1),
    bring_an_erased_row_back: ("places", "erased and there again", 1),
    refine_a_repeat_as_a_new_complaint: ("complaints", "twice", 1),
    double_the_last(silver.NARRATIVES): ("narratives", "twice", 1),
    double_the_last(silver.OUTCOMES): ("outcomes", "twice", 1),
    decide_twice: ("decisions", "twice", 1),
    leave_a_complaint_undecided: ("gold", "without a decision", 1),
    lose_a_sum(gold.BY_MINUTE): ("minutes", "with other sums", 1),
    lose_a_sum(gold.BY_DAY): ("days", "with other sums", 1),
}


@pytest.mark.parametrize(
    ("do", "expected"), BREAKS.items(), ids=[f"{name}-{what.replace(' ', '-')}" for name, what, _ in BREAKS.values()]
)
def test_what_is_broken_by_hand_is_found_and_nothing_else(
    copied: Settings, do: Callable[[Settings], None], expected: tuple[str, str, int]
) -> None:
    name, verdict, count = expected
    do(copied)
    (checked,) = (checked for checked in found(copied).invariants if not checked.holds)
    assert (checked.name, checked.broken) == (name, {verdict: count})
    assert 1 <= len(checked.examples[verdict]) <= count


def test_a_sum_that_is_too_high_is_found_by_its_day(copied: Settings) -> None:
    change_a_sum(copied)
    days = int(one(copied, "SELECT count(DISTINCT (date_received, product_family, issue, company, state)) "
                           "FROM gold.complaints_by_day"))  # fmt: skip
    assert broken(copied) == {"days": {"with other sums": days}}


def test_what_was_erased_and_replayed_is_accounted_for(copied: Settings) -> None:
    """A refused message is gone everywhere; another was mended, and is a repeat."""
    gone, mended = (row[0] for row in query(copied, TABLES, "SELECT record_id FROM silver.quarantine ORDER BY 1").rows)
    noted = f"'{gone}' AS record_id, 1::BIGINT AS complaint_id, 'quarantine' AS destination, now() AS asked_at"
    rewrite(copied, bronze.ERASURES, f"SELECT {noted}, NULL::TIMESTAMPTZ AS erased_at")
    assert under_way(copied) == {"places": 1}  # interrupted
    replayed = (
        "record_id || '@20240301000000000' AS record_id, 'replay' AS source, record_id AS replay_of, NULL AS topic, "
        'NULL AS "partition", NULL AS "offset", NULL AS kafka_timestamp'
    )
    rewrite(
        copied,
        bronze.COMPLAINTS,
        f"FROM before WHERE record_id <> '{gone}' "
        f"UNION ALL SELECT * REPLACE ({replayed}) FROM before WHERE record_id = '{mended}'",
    )
    rewrite(
        copied, silver.QUARANTINE, f"SELECT * REPLACE (now() AS replayed_at) FROM before WHERE record_id <> '{gone}'"
    )
    rewrite(
        copied,
        silver.DUPLICATES,
        f"FROM before UNION ALL SELECT * REPLACE ('{mended}@20240301000000000' AS record_id) "
        "FROM (FROM before LIMIT 1)",
    )
    rewrite(copied, bronze.ERASURES, f"SELECT {noted}, now() AS erased_at")
    assert under_way(copied) == {}
    (messages_of,) = (checked for checked in found(copied).invariants if checked.name == "messages")
    assert messages_of.apart == {"erased": 1}


def test_what_a_query_has_not_read_yet_is_under_way_and_never_lost(
    copied: Settings, trained: Trained, spark: SparkSession, shared_broker: Broker
) -> None:
    """Message by message on a topic of its own, through one query after the other."""
    own = with_topics(copied, shared_broker, "verify-waiting")
    for topic in (own.kafka.input, own.kafka.predictions):
        assert topic.name.startswith("verify-waiting")
    settings = own.model_copy(update={"kafka": own.kafka.model_copy(update={"predictions": copied.kafka.predictions})})
    shutil.rmtree(settings.folder / "checkpoints" / "ingest")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    streaming = Streaming(Lake(spark, settings), trained)
    send(settings, tuple(json.dumps(complaint(NEW + 100 + number)) for number in range(5)))
    assert under_way(settings) == {"messages": 5}
    streaming.ingest()
    assert under_way(settings) == {"places": 5}
    streaming.refine()
    assert under_way(settings) == {"gold": 5}
    before = settings.folder / "checkpoints" / "score"
    kept = shutil.copytree(before, settings.folder / "kept")
    streaming.score()
    assert under_way(settings) == {"minutes": 5, "days": 5}
    shutil.rmtree(before)
    kept.rename(before)  # as if it had been killed before it called the batch done
    assert under_way(settings) == {"minutes": 5, "days": 5}
    streaming.summarise()
    assert under_way(settings) == {}
    for number in range(5):
        publish(settings, NEW + 100 + number, None)  # for the other tests, whose lakes know nothing of them


def test_a_decision_with_two_contents_or_none_on_kafka_is_found(copied: Settings, shared_broker: Broker) -> None:
    number = NEW + 5
    of_it = [value for key, value in messages(shared_broker, copied.kafka.predictions.name) if int(key) == number]
    (value,) = (value for value in of_it if value is not None)
    publish(copied, number, value)
    assert broken(copied) == {}  # at least once
    publish(copied, number, value.replace(b'"company":"ACME"', b'"company":"EMCA"'))
    assert broken(copied) == {"published": {"with several contents": 1}}
    publish(copied, number, None)
    assert broken(copied) == {"published": {"not published": 1}}
    publish(copied, number, value.replace(b"verify-input", b"other-input"))
    assert broken(copied) == {"published": {"not as in gold": 1}}
    publish(copied, number, None)
    publish(copied, number, value)
    assert broken(copied) == {}


def test_a_lake_of_an_earlier_version_lacks_tables_and_columns_and_is_verified(copied: Settings) -> None:
    shutil.rmtree(table_path(copied, bronze.ERASURES))
    shutil.rmtree(table_path(copied, gold.STREAM_HEALTH))
    for table in (gold.BY_MINUTE, gold.DECISIONS):
        first = table_path(copied, table) / "_delta_log" / f"{0:020}.json"
        assert "latency_ms_sum" in first.read_text() or table is gold.DECISIONS
    assert broken(copied) == {}


def test_without_kafka_the_files_alone_are_verified_and_that_is_said(trained: Trained) -> None:
    verified = found(trained.lake.settings)
    assert verified.holds
    notes = {checked.name: checked.note for checked in verified.invariants if checked.note}
    assert notes.keys() == {"messages", "published", "gold"}
    assert "no broker" in str(notes["messages"])
    assert "No complaint is scored yet" in str(notes["gold"])
    assert {checked.name: checked.counted for checked in verified.invariants}["files"] == 445


def test_a_lake_that_is_not_there_is_refused(settings: Settings) -> None:
    with pytest.raises(ComplaintsError, match=r"There are no tables in .* yet"):
        found(settings)


def test_a_broken_lake_is_no_success_for_a_caller(copied: Settings) -> None:
    lose_a_refused_row(copied)
    verified = found(copied)
    told = verified.as_json()
    assert told["holds"] is False
    assert told["invariants"]["places"]["broken"] == {"lost": 1}
    assert replace(verified, invariants=()).holds
