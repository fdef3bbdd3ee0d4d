"""Many messages of the maximum size at once neither stop the stream nor exceed its memory."""

import json
import random
import threading
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.tables.lake import Lake
from silver.parse import MAX_PAYLOAD_BYTES, OVERSIZED_SHOWN
from silver.tables import COMPLAINTS, QUARANTINE
from stewardship.quarantine import waiting
from streaming.batch.load import follow, refine
from streaming.kafka.broker import Broker
from streaming.kafka.generator import Message
from streaming.kafka.producer import Producer
from streaming.kafka.topics import largest_message
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from tests.stream_fixtures import lake_with_topics

DONE = Trigger(until_done=True)
LARGE = 7_900_000
SIXTY = 60


@pytest.fixture
def lake(lake: Lake, shared_broker: Broker) -> Iterator[Lake]:
    """An empty lake with separate topics that have the default limits."""
    with lake_with_topics(lake, shared_broker, "large") as own:
        yield own


def complaint(number: int, narrative: str) -> bytes:
    cells = {"complaint_id": str(number), "date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble"}
    return json.dumps({**cells, "company": "ACME", "complaint_what_happened": narrative}).encode()


def send(lake: Lake, values: list[bytes]) -> None:
    producer = Producer(lake.settings.kafka, str(lake.settings.kafka.bootstrap_servers))
    messages = [Message(b"%d" % number, value, "new") for number, value in enumerate(values)]
    report = producer.produce(messages, rate_per_minute=float("inf"), total=len(messages), stop=threading.Event())
    assert (report.sent, dict(report.failed)) == (len(values), {})


def stream(lake: Lake) -> None:
    options = spark_kafka_options(lake, str(lake.settings.kafka.bootstrap_servers))
    follow(Queries(lake).ingest(options, DONE), lambda _: None)
    refine(lake, lambda _: None)


def test_payloads_that_are_too_large_are_stored_whole_quarantined_unparsed_and_alone(lake: Lake) -> None:
    large = complaint(1, "".join(random.Random(1).choices("abcdefghij klmnop", k=3_000_000)))
    send(lake, [*[large] * 12, complaint(2, "Short.")])
    stream(lake)
    assert [row.complaint_id for row in lake.read(COMPLAINTS).collect()] == [2]
    refused = lake.read(QUARANTINE).collect()
    assert {tuple(row.reasons) for row in refused} == {("payload_too_large",)}
    assert [len(row.payload) for row in refused] == [OVERSIZED_SHOWN] * 12
    assert {row["payload"].encode() for row in waiting(lake.settings, None, None).rows} == {large}

    # Reading bronze holds one row group at a time, so row groups are limited by bytes, not by rows.
    for path in lake.path(BRONZE).glob("*.parquet"):
        groups = pq.ParquetFile(path).metadata
        rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        assert max(rows) * len(large) < 32 * 1024 * 1024, rows


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_sixty_messages_of_almost_the_largest_size_do_not_end_the_stream(lake: Lake) -> None:
    assert largest_message(lake.settings.kafka, str(lake.settings.kafka.bootstrap_servers)) > LARGE > MAX_PAYLOAD_BYTES
    large = [complaint(number, "word " * (LARGE // 5)) for number in range(1, SIXTY + 1)]
    send(lake, [*large, complaint(99, "Short.")])
    stream(lake)
    assert lake.read(BRONZE).count() == SIXTY + 1
    assert lake.read(QUARANTINE).where("reasons = array('payload_too_large')").count() == SIXTY
    assert [row.complaint_id for row in lake.read(COMPLAINTS).collect()] == [99]
