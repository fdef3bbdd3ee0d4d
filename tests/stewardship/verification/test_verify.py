"""Each invariant is broken on purpose in a copy of a lake, and only that one is reported as broken.

Real messages on a real broker are streamed through to the published decisions. `breakage` has the ways to break a lake.
"""

# ruff: noqa: S608 - the statements of tests are their own

import json
import re
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
from lakehouse.tables.lake import Lake
from lakehouse.tables.stores import table_path
from silver import tables as silver
from stewardship.verification.verify import Verified, verify
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of
from tests.stewardship.verification.breakage import BREAKS, change_a_sum, lose_a_quarantined_row, one, rewrite
from tests.stream_fixtures import Streaming, messages, with_topics

NEW = 8_000_000  # above the ids of the samples


def complaint(number: int, **changed: str) -> dict[str, str]:
    usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
    return {"complaint_id": str(number), **usable, **changed}


MESSAGES = (
    *(json.dumps(complaint(NEW + number)) for number in range(6)),
    json.dumps(complaint(NEW)),  # unchanged
    json.dumps(complaint(NEW + 1, company_response="Closed with explanation")),
    json.dumps(complaint(NEW + 2, complaint_what_happened="They charged me twice.")),
    json.dumps(complaint(NEW + 3, company="OTHER")),  # revised
    json.dumps(complaint(NEW + 9, date_received="soon")),
    '{"complaint_id": "8000008", "date_rec',  # truncated
)


def send(settings: Settings, values: tuple[str, ...]) -> None:
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for value in values:  # those of one complaint into one partition, so that they arrive in this order
            number = int(re.findall(r"\d{7}", value)[0])
            producer.send(settings.kafka.input.name, value.encode(), partition=number % 2)


def publish(settings: Settings, number: int, value: bytes | None) -> None:
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        producer.send(settings.kafka.predictions.name, key=str(number).encode(), value=value)


@pytest.fixture(scope="module")
def streamed(trained: Trained, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with two loaded files that has streamed `MESSAGES`."""
    lake = copy_of(trained, tmp_path_factory.mktemp("verified") / "lake")
    settings = with_topics(lake.settings, shared_broker, "verify")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    send(settings, MESSAGES)
    Streaming(Lake(lake.spark, settings), trained.model).all()
    return settings


@pytest.fixture
def copied(streamed: Settings, tmp_path: Path) -> Settings:
    """A copy of that lake, which a test may break."""
    shutil.copytree(streamed.folder, tmp_path / "lake")
    return load_settings(root=tmp_path / "lake").model_copy(update={"kafka": streamed.kafka})


def found(settings: Settings) -> Verified:
    return verify(settings, lambda _: None)


def broken(settings: Settings) -> dict[str, dict[str, int]]:
    """Return what breaks each broken invariant."""
    return {one.name: dict(one.broken) for one in found(settings).invariants if not one.holds}


def under_way(settings: Settings) -> dict[str, int]:
    verified = found(settings)
    assert verified.holds, verified
    return {one.name: one.under_way for one in verified.invariants if one.under_way}


def test_every_row_of_a_loaded_and_streamed_lake_is_counted_and_nothing_is_broken(streamed: Settings) -> None:
    verified = found(streamed)
    assert verified.holds
    assert verified.under_way == 0
    assert {checked.name: checked.counted for checked in verified.invariants} == {
        "messages": 12,
        "bronze": 457,
        "files": 445,
        "replays": 0,
        "places": 457,
        "complaints": 451,
        "narratives": 1,
        "outcomes": 446,
        "reports": 446,
        "decisions": 452,
        "gold": 451,
        "revisions": 1,
        "withdrawals": 0,
        "minutes": 452,
        "days": 452,
        "published": 452,
    }
    assert all(not checked.apart and checked.note is None for checked in verified.invariants)


@pytest.mark.parametrize(
    ("do", "expected"), BREAKS.items(), ids=[f"{name}-{what.replace(' ', '-')}" for name, what, _ in BREAKS.values()]
)
def test_only_the_broken_invariant_is_reported(
    copied: Settings, do: Callable[[Settings], None], expected: tuple[str, str, int]
) -> None:
    name, verdict, count = expected
    do(copied)
    (checked,) = (checked for checked in found(copied).invariants if not checked.holds)
    assert (checked.name, checked.broken) == (name, {verdict: count})
    assert 1 <= len(checked.examples[verdict]) <= count


def test_a_sum_that_is_too_high_is_reported_for_its_day(copied: Settings) -> None:
    change_a_sum(copied)
    days = int(one(copied, "SELECT count(DISTINCT (date_received, product_family, issue, company, state)) "
                           "FROM gold.complaints_by_day"))  # fmt: skip
    assert broken(copied) == {"days": {"with other sums": days}}


def test_erased_and_replayed_rows_are_accounted_for(copied: Settings) -> None:
    """One quarantined message is erased everywhere; another was fixed, and is a duplicate."""
    gone, fixed = (row[0] for row in query(copied, TABLES, "SELECT record_id FROM silver.quarantine ORDER BY 1").rows)
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
        f"UNION ALL SELECT * REPLACE ({replayed}) FROM before WHERE record_id = '{fixed}'",
    )
    rewrite(
        copied, silver.QUARANTINE, f"SELECT * REPLACE (now() AS replayed_at) FROM before WHERE record_id <> '{gone}'"
    )
    rewrite(
        copied,
        silver.DUPLICATES,
        f"FROM before UNION ALL SELECT * REPLACE ('{fixed}@20240301000000000' AS record_id) FROM (FROM before LIMIT 1)",
    )
    rewrite(copied, bronze.ERASURES, f"SELECT {noted}, now() AS erased_at")
    assert under_way(copied) == {}
    (messages_of,) = (checked for checked in found(copied).invariants if checked.name == "messages")
    assert messages_of.apart == {"erased": 1}


def test_rows_that_a_query_has_not_read_yet_are_in_progress_and_not_lost(
    copied: Settings, trained: Trained, spark: SparkSession, shared_broker: Broker
) -> None:
    """Send messages to a separate topic and run one query after another."""
    own = with_topics(copied, shared_broker, "verify-waiting")
    for topic in (own.kafka.input, own.kafka.predictions):
        assert topic.name.startswith("verify-waiting")
    settings = own.model_copy(update={"kafka": own.kafka.model_copy(update={"predictions": copied.kafka.predictions})})
    shutil.rmtree(settings.folder / "checkpoints" / "ingest")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    streaming = Streaming(Lake(spark, settings), trained.model)
    send(settings, tuple(json.dumps(complaint(NEW + 100 + number)) for number in range(5)))
    assert under_way(settings) == {"messages": 5}
    streaming.ingest()
    assert under_way(settings) == {"places": 5}
    streaming.refine()
    assert under_way(settings) == {"gold": 5}
    before = settings.folder / "checkpoints" / "score"
    saved = shutil.copytree(before, settings.folder / "saved")
    streaming.score()
    assert under_way(settings) == {"minutes": 5, "days": 5}
    shutil.rmtree(before)
    saved.rename(before)  # as if killed before the batch was committed to the checkpoint
    assert under_way(settings) == {"minutes": 5, "days": 5}
    streaming.summarise()
    assert under_way(settings) == {}
    for number in range(5):
        publish(settings, NEW + 100 + number, None)  # for the other tests, whose lakes don't have them


def test_a_decision_with_two_contents_or_none_on_kafka_is_reported(copied: Settings, shared_broker: Broker) -> None:
    number = NEW + 5
    of_it = [value for key, value in messages(shared_broker, copied.kafka.predictions.name) if int(key) == number]
    (value,) = (value for value in of_it if value is not None)
    publish(copied, number, value)
    assert broken(copied) == {}  # at least once is allowed
    publish(copied, number, value.replace(b'"company":"ACME"', b'"company":"EMCA"'))
    assert broken(copied) == {"published": {"with several contents": 1}}
    publish(copied, number, None)
    assert broken(copied) == {"published": {"not published": 1}}
    publish(copied, number, value.replace(b"verify-input", b"other-input"))
    assert broken(copied) == {"published": {"not as in gold": 1}}
    publish(copied, number, None)
    publish(copied, number, value)
    assert broken(copied) == {}


def test_a_lake_of_an_earlier_version_without_some_tables_and_columns_is_verified(copied: Settings) -> None:
    shutil.rmtree(table_path(copied, bronze.ERASURES))
    shutil.rmtree(table_path(copied, gold.STREAM_HEALTH))
    for table in (gold.BY_MINUTE, gold.DECISIONS):
        first = table_path(copied, table) / "_delta_log" / f"{0:020}.json"
        assert "latency_ms_sum" in first.read_text() or table is gold.DECISIONS
    assert broken(copied) == {}


def test_without_kafka_only_files_are_verified_and_notes_say_so(trained: Trained) -> None:
    verified = found(trained.lake.settings)
    assert verified.holds
    notes = {checked.name: checked.note for checked in verified.invariants if checked.note}
    assert notes.keys() == {"messages", "published", "gold"}
    assert "no broker" in str(notes["messages"])
    assert "No complaint is scored yet" in str(notes["gold"])
    assert {checked.name: checked.counted for checked in verified.invariants}["files"] == 445


def test_a_missing_lake_is_refused(settings: Settings) -> None:
    with pytest.raises(ComplaintsError, match=r"There are no tables in .* yet"):
        found(settings)


def test_a_broken_lake_is_a_failure_in_json(copied: Settings) -> None:
    lose_a_quarantined_row(copied)
    verified = found(copied)
    report = verified.as_json()
    assert report["holds"] is False
    assert report["invariants"]["places"]["broken"] == {"lost": 1}
    assert replace(verified, invariants=()).holds
