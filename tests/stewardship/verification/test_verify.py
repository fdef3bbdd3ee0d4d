"""Each invariant is broken by hand in a copy of one lake, and then it alone is found broken; what waits is no loss.

Real messages on a real broker, streamed to the published decisions. A table is broken by a commit that puts other rows
in the place of all of its own.
"""

# ruff: noqa: S608 - the statements of tests are their own

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.sql.query import query
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
from tests.stewardship.verification.breakage import BREAKS, change_a_sum, lose_a_refused_row, one, rewrite
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


def found(settings: Settings) -> Verified:
    return verify(settings, lambda _: None)


def broken(settings: Settings) -> dict[str, dict[str, int]]:
    """By invariant that is broken what breaks it."""
    return {one.name: dict(one.broken) for one in found(settings).invariants if not one.holds}


def under_way(settings: Settings) -> dict[str, int]:
    verified = found(settings)
    assert verified.holds, verified
    return {one.name: one.under_way for one in verified.invariants if one.under_way}


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
