"""A complaint can be traced through all layers and erased from all of them; others are unaffected.

Real messages on a real broker: a complaint, its duplicate, its outcome and a truncated message of it, among others.
"""

import gzip
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer
from pyspark.sql import Row, SparkSession

from bronze.land import SYNTHETIC_HEADER
from bronze.tables import COMPLAINTS as BRONZE
from gold.aggregates import KEYS
from gold.tables import BY_DAY, BY_MINUTE, DECISIONS, FIRST
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake, writer_lock
from silver.tables import COMPLAINTS, QUARANTINE
from stewardship import erase as module
from stewardship.erase import erase_complaint
from stewardship.erasure_proof import words_of
from stewardship.locations import records_of
from stewardship.trace import trace
from streaming.batch.load import follow, refine
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.tables import TABLES
from tests.conftest import Trained
from tests.stream_fixtures import messages, with_topics

WORDS = "Zanzibar lent me a harpsichord"  # in no other complaint
MINE, OTHER, GENERATED = 7_000_001, 7_000_002, 7_000_003
DONE = Trigger(until_done=True)


def complaint(number: int, **changed: str) -> dict[str, str]:
    usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
    return {"complaint_id": str(number), **usable, **changed}


MESSAGES = (  # those of GENERATED have the header of the load generator
    json.dumps(complaint(MINE, complaint_what_happened=f"{WORDS}, and then some.")),
    json.dumps(complaint(OTHER, complaint_what_happened="They charged me twice.")),
    json.dumps(complaint(MINE, company_response="Closed with explanation", complaint_what_happened=f"{WORDS} again.")),
    json.dumps(complaint(MINE, complaint_what_happened=WORDS))[:-20],  # truncated
    json.dumps(complaint(MINE, date_received="soon", complaint_what_happened=WORDS)),
    json.dumps(complaint(MINE + 10)),
    f'{json.dumps(complaint(MINE))[:-1]}, "reference": {"9" * 5000}}}',
    json.dumps(complaint(GENERATED)),
    json.dumps(complaint(GENERATED, issue="Other trouble")),
)


def send(settings: Settings, values: tuple[str, ...]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for value in values:
        headers = [(SYNTHETIC_HEADER, b"true")] if str(GENERATED) in value else None
        producer.send(settings.kafka.input.name, value.encode(), partition=0, headers=headers)
    producer.flush()
    producer.close()


def options(lake: Lake) -> dict[str, str]:
    return spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))


def stream(lake: Lake, trained: Trained) -> None:
    """Run the six queries, from Kafka to the published decisions, until no input is left."""
    queries = Queries(lake)
    kafka = options(lake)
    follow(queries.ingest(kafka, DONE), lambda _: None)
    refine(lake, lambda _: None)
    publishing = Publishing(lake.settings.kafka.predictions.name, kafka)
    follow(queries.score(trained.model, publishing, DONE), lambda _: None)
    follow(queries.revise(trained.model, publishing, DONE), lambda _: None)
    follow(queries.summarise(DONE), lambda _: None)


@pytest.fixture(scope="module")
def streamed(trained: Trained, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake that has streamed `MESSAGES`."""
    root = tmp_path_factory.mktemp("streamed") / "lake"
    shutil.copytree(trained.lake.settings.folder / "mlflow", root / "mlflow")
    settings = with_topics(load_settings(root=root), shared_broker, "erase")
    ensure_topics(settings.kafka, shared_broker.bootstrap_servers)
    lake = Lake(trained.lake.spark, settings)
    lake.create(TABLES)
    send(settings, MESSAGES)
    stream(lake, trained)
    return settings


@pytest.fixture
def lake(streamed: Settings, spark: SparkSession, tmp_path: Path) -> Lake:
    """A copy of that lake, which a test may change."""
    shutil.copytree(streamed.folder, tmp_path / "lake")
    own = load_settings(root=tmp_path / "lake")
    return Lake(spark, own.model_copy(update={"kafka": streamed.kafka}))


def balance(settings: Settings) -> tuple[int, int, int]:
    """Return three balances: bronze - silver's three tables, bronze + erasures, decided - daily sums."""
    statement = """
        SELECT (SELECT count(*) FROM bronze.complaints) - (SELECT count(*) FROM silver.complaints)
               - (SELECT count(*) FROM silver.quarantine) - (SELECT count(*) FROM silver.duplicates),
               (SELECT count(*) FROM bronze.complaints) + (SELECT count(*) FROM bronze.erasures),
               (SELECT count(DISTINCT complaint_id) FROM gold.decisions) - (SELECT coalesce(sum(complaints), 0)
                                                                             FROM gold.complaints_by_day)
    """
    ((*counts,),) = query(settings, TABLES, statement).rows
    return int(counts[0]), int(counts[1]), int(counts[2])


def files_with(folder: Path, words: str) -> list[str]:
    """Return the files below a folder that contain the words, in their bytes or in a Parquet cell."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found_here = words.encode() in path.read_bytes()
        if path.suffix == ".parquet":
            found_here = found_here or words in str(pq.ParquetFile(path).read().to_pydict())
        found += [path.relative_to(folder).as_posix()] if found_here else []
    return found


def test_words_are_found_beside_files_that_a_killed_writer_left_unfinished(lake: Lake) -> None:
    records = records_of(lake.settings, MINE)
    words = words_of(lake.settings, records)
    assert any(WORDS in word for word in words)
    (whole, *_) = sorted(lake.path(BRONZE).glob("*.parquet"))
    for name, content in (("empty", b""), ("begun", b"PAR1"), ("cut", whole.read_bytes()[:-9])):
        (lake.path(BRONZE) / f"part-{name}.snappy.parquet").write_bytes(content)
    assert words_of(lake.settings, records) == words


def test_a_complaint_is_traced_from_its_message_to_its_published_decision(streamed: Settings) -> None:
    found = trace(streamed, MINE)
    assert found.note is None
    topic = streamed.kafka.input.name
    first = [step for step in found.steps if step.record_id == f"{topic}/0/0"]
    assert [step.step for step in first] == ["kafka", "bronze", "silver", "decision", "published"]
    assert [step.at for step in first] == sorted(step.at for step in first if step.at)
    assert first[0].what == f"offset 0 of {topic} partition 0"
    assert "by complaint_resolution version 1" in first[3].what
    assert first[4].what.endswith(f"of {streamed.kafka.predictions.name} partition {first[4].what[-1]}")
    others = {step.record_id: f"{step.step}: {step.what}" for step in found.steps if step.step in WENT}
    assert others == {
        f"{topic}/0/2": "duplicate: revised, narrative",
        f"{topic}/0/3": "quarantine: not_json",
        f"{topic}/0/4": "quarantine: date_received_unreadable",
        f"{topic}/0/6": "quarantine: not_json",
    }
    assert WORDS not in json.dumps(found.as_json(), default=str)


WENT = ("duplicate", "quarantine")


def test_a_complaint_that_was_never_received_is_reported(streamed: Settings) -> None:
    with pytest.raises(ComplaintsError, match=r"There is no complaint 7000009 in .*, nor in its quarantine"):
        trace(streamed, 7_000_009)


def test_after_an_erasure_no_file_contains_its_text_and_the_counts_still_balance(
    lake: Lake, shared_broker: Broker, trained: Trained
) -> None:
    settings = lake.settings
    purge = "ALTER TABLE delta.`{}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
    lake.spark.sql(purge.format(lake.path(QUARANTINE)))  # so that deleted rows are only marked
    assert len(files_with(settings.folder, WORDS)) >= 3
    send(settings, (json.dumps(complaint(OTHER + 8)), json.dumps(complaint(MINE))))
    follow(Queries(lake).ingest(options(lake), DONE), lambda _: None)  # and no further, as if stopped here
    bronze, decided = lake.read(BRONZE).count(), lake.read(DECISIONS).where(FIRST).count()

    done = erase_complaint(settings, MINE, lambda _: None)
    assert dict(done.rows) == {
        "silver.complaints": 1, "silver.revisions": 1, "silver.narratives": 0, "silver.outcome_reports": 1,
        "silver.outcomes": 1, "silver.withdrawals": 0, "silver.duplicates": 2,
        "gold.decisions": 2, "bronze.complaints": 6, "silver.quarantine": 3,
    }  # fmt: skip
    assert files_with(settings.folder, WORDS) == []
    assert balance(settings) == (0, bronze, 0)
    assert lake.read(DECISIONS).where(f"complaint_id IN ({OTHER}, {OTHER + 8})").count() == 2
    for table in (BY_MINUTE, BY_DAY):
        assert lake.read(table).agg({"complaints": "sum"}).first()[0] == decided  # type: ignore[index]
        assert lake.read(table).where("complaints <= 0").count() == 0
    for table in (BRONZE, COMPLAINTS, DECISIONS):
        assert lake.delta(table).detail().first()["properties"]["delta.appendOnly"] == "true"  # type: ignore[index]
    assert (str(MINE).encode(), b"") in [(key, value or b"") for key, value in published(settings, shared_broker)]
    with pytest.raises(ComplaintsError, match=f"The complaint {MINE} was erased on 20"):
        trace(settings, MINE)

    send(settings, (json.dumps(complaint(OTHER + 20)), json.dumps(complaint(OTHER))))
    stream(lake, trained)
    assert lake.read(DECISIONS).where(f"complaint_id = {OTHER + 20}").count() == 1
    assert balance(settings) == (0, bronze + 2, 0)


def test_a_generated_complaint_is_taken_out_of_the_sums_with_its_versions(lake: Lake) -> None:
    def real() -> list[list[Row]]:
        return [lake.read(table).where("is_synthetic IS NULL").sort(*KEYS[table]).collect() for table in KEYS]

    before = real()
    assert erase_complaint(lake.settings, GENERATED, lambda _: None).rows["gold.decisions"] == 2
    assert all(lake.read(table).where("is_synthetic").isEmpty() for table in KEYS)
    assert real() == before
    assert balance(lake.settings)[0::2] == (0, 0)


def published(settings: Settings, broker: Broker) -> list[tuple[bytes, bytes]]:
    return messages(broker, settings.kafka.predictions.name)


def test_a_killed_erasure_is_finished_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lake.settings

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            erase_complaint(settings, MINE, lambda _: None)
    assert files_with(settings.folder / "tables", WORDS), "deleted rows are still in older files"
    done = erase_complaint(settings, MINE, lambda _: None)
    assert sorted(set(done.records.values())) == ["duplicates", "quarantine", "silver"]
    assert files_with(settings.folder, WORDS) == []
    assert balance(settings)[0::2] == (0, 0)


def test_while_the_stream_runs_nothing_is_erased(lake: Lake) -> None:
    with (
        writer_lock(lake.settings),
        pytest.raises(ComplaintsError, match=r"Another process is writing the lake .*: stop it"),
    ):
        erase_complaint(lake.settings, MINE, lambda _: None)
    assert lake.read(BRONZE).count() >= len(MESSAGES)


def test_an_erasure_searches_the_whole_root_and_is_confirmed_once_no_file_has_the_complaint(lake: Lake) -> None:
    root = lake.settings.folder
    text = f"They say: {WORDS}, and then some."
    swept = ("superset/cache/data/1f", "mlflow/artifacts/1/input_example.json", "standby/rows", "staging-1/records")
    for place in (*swept, "scratch/blockmgr-1/0c/shuffle", "logs/spark.log.1"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    (root / ".standby.lock").touch()  # left by a killed process
    (root / "landing").mkdir()
    (root / "landing" / "export.json.gz").write_bytes(gzip.compress(MESSAGES[0].encode()))
    copied = root / "notes" / "copied.json.gz"
    copied.parent.mkdir()
    copied.write_bytes(gzip.compress(json.dumps({"complaint_id": MINE}).encode()))

    with pytest.raises(ComplaintsError, match=r"1 files .* still hold .*, the first is notes/copied\.json\.gz"):
        erase_complaint(lake.settings, MINE, lambda _: None)
    copied.unlink()
    done = erase_complaint(lake.settings, MINE, lambda _: None)
    assert [path for path in files_with(root, WORDS) if not path.startswith("landing/")] == []
    assert done.searched > 100
    kafka, landing = done.left
    assert kafka.startswith(
        f"Kafka keeps messages with it on {lake.settings.kafka.input.name} until they are 168 hours"
    )
    assert landing.startswith("The file landing/export.json.gz holds it")
