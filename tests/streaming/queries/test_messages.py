"""Messages of producers of every kind go from Kafka to silver, or to quarantine for the reason that is true."""

import gzip
import json
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS, QUARANTINE
from streaming.batch.load import follow, refine
from streaming.kafka.broker import Broker
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from tests.stream_fixtures import lake_with_topics

CELLS = {"date_received": "2023-05-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME", "state": "FL"}


def text(number: int, **changed: object) -> str:
    """Return a complaint as JSON; NaN stays a bare NaN."""
    return json.dumps({**CELLS, **changed, "complaint_id": str(number)}, ensure_ascii=False)


def enveloped(number: int) -> dict[str, object]:
    return {"before": None, "after": json.loads(text(number)), "op": "c", "ts_ms": 1}


READ: dict[int, bytes] = {
    1: text(1).encode(),
    2: f"\ufeff{text(2)}".encode(),
    3: text(3, tags=float("nan"), zip_code=float("nan"), complaint_what_happened=float("nan")).encode(),
    4: text(4).encode("utf-16"),
    5: b"\0\0\0\0\7" + text(5).encode(),
    6: json.dumps({"schema": {"type": "struct"}, "payload": json.loads(text(6))}).encode(),
    7: json.dumps(enveloped(7)).encode(),
    8: json.dumps({"schema": {}, "payload": enveloped(8)}).encode(),
    9: json.dumps(text(9)).encode(),
    10: f"[{text(10)}]".encode(),
    11: f"{text(11)}\0".encode(),
    12: text(12, meta={"a": [1]}).encode(),
    13: text(13, issue="N/A", tags="<NA>", zip_code=r"\N", sub_product="NA", complaint_what_happened="None").encode(),
}
REFUSED: list[tuple[bytes | None, list[str]]] = [
    (None, ["empty_payload"]),
    (gzip.compress(text(20).encode()), ["not_utf8", "compressed"]),
    (b"\0\0\0\0\7\2\x0e7300001\xff", ["not_utf8", "schema_registry_binary"]),
    (str(json.loads(text(21, tags=None))).encode(), ["not_json"]),
    (",".join(CELLS.values()).encode(), ["not_json"]),
    (text(22, company="Café").encode("latin-1"), ["not_utf8"]),
    (f"{text(23)}\n{text(24)}".encode(), ["content_after_object"]),
    (f"[{text(25)}, {text(26)}]".encode(), ["array_not_object"]),
]


@pytest.fixture
def lake(lake: Lake, shared_broker: Broker) -> Iterator[Lake]:
    """An empty lake with separate topics."""
    with lake_with_topics(lake, shared_broker, "messages") as own:
        yield own


def test_each_message_is_read_or_refused_for_its_true_reason(lake: Lake, shared_broker: Broker) -> None:
    values = [*READ.values(), *(value for value, _ in REFUSED)]
    producer = KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)
    for value in values:
        producer.send(lake.settings.kafka.input.name, value, key=b"k", partition=0)
    producer.flush()
    producer.close()
    options = spark_kafka_options(lake, shared_broker.bootstrap_servers)
    follow(Queries(lake).ingest(options, Trigger(until_done=True)), lambda _: None)
    refine(lake, lambda _: None)

    landed = lake.read(BRONZE).orderBy("offset").collect()
    kept = [row.payload_bytes if row.payload is None else row.payload.encode() for row in landed]
    assert kept == values, "bronze keeps each message as received"
    complaints = {row.complaint_id: row for row in lake.read(COMPLAINTS).collect()}
    assert set(complaints) == set(READ)
    assert {(row.company, row.state, str(row.date_received)) for row in complaints.values()} == {
        ("ACME", "FL", "2023-05-01")
    }
    assert {(row.tags, row.zip_code, row.sub_product, row.narrative) for row in complaints.values()} == {(None,) * 4}
    assert {number: row.warnings for number, row in complaints.items() if row.warnings} == {13: ["issue_missing"]}
    refused = {row.offset - len(READ): row.reasons for row in lake.read(QUARANTINE).collect()}
    assert refused == {at: reasons for at, (_, reasons) in enumerate(REFUSED)}
