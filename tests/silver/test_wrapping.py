"""A complaint is read whatever producers and tools put around its JSON, and nothing that follows it is lost."""

import json

import pytest
from pyspark.sql import SparkSession

from bronze.land import landed_from_kafka
from silver.parse import parsed

COMPLAINT = {
    "complaint_id": "7300001",
    "date_received": "2023-05-01",
    "product": "Mortgage",
    "narrative": "Café 😡, 5 < 6",
}
TEXT = json.dumps(COMPLAINT, ensure_ascii=False)
CHANGE = {"before": None, "after": COMPLAINT, "op": "c", "source": {"table": "complaints"}, "ts_ms": 1}

READ: dict[str, bytes] = {
    "as it is": TEXT.encode(),
    "spaces and line ends around it": f"\r\n {TEXT} \n".encode(),
    "a byte order mark": f"\ufeff{TEXT}".encode(),
    "two byte order marks": f"\ufeff\ufeff{TEXT}".encode(),
    "a byte order mark read as Latin-1": f"ï»¿{TEXT}".encode(),
    "NUL padding and a line end": f"{TEXT}\0\0\n".encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, big-endian": f"\ufeff{TEXT}".encode("utf-16-be"),
    "UTF-16 without a byte order mark": TEXT.encode("utf-16-le"),
    "UTF-16, big-endian, without a byte order mark": TEXT.encode("utf-16-be"),
    "UTF-16 that is also UTF-8": json.dumps(COMPLAINT).encode("utf-16-le"),
    "a schema registry's prefix": b"\0\0\0\0\7" + TEXT.encode(),
    "a schema registry's prefix that is not UTF-8": b"\0\0\0\xff\xfe" + TEXT.encode(),
    "a JSON string": json.dumps(TEXT).encode(),
    "an array": f"[{TEXT}]".encode(),
    "an array with a JSON string": json.dumps([TEXT]).encode(),
    "Kafka Connect with schemas": json.dumps({"schema": {"type": "struct"}, "payload": COMPLAINT}).encode(),
    "Debezium": json.dumps(CHANGE).encode(),
    "Debezium with schemas": json.dumps({"schema": {}, "payload": CHANGE}).encode(),
    "CloudEvents": json.dumps({"specversion": "1.0", "id": "1", "type": "created", "data": COMPLAINT}).encode(),
    "other keys that hold objects": json.dumps({**COMPLAINT, "meta": {"a": [1]}, "data": {"complaint_id": 5}}).encode(),
    "mongoexport": TEXT.replace('"7300001"', '{"$numberLong": "7300001"}')
    .replace('"2023-05-01"', '{"$date": "2023-05-01"}')
    .encode(),
    "a raw line break in a text": TEXT.replace("Mortgage", "Mortgage\n").encode(),
}
UNREAD: dict[str, bytes] = {
    "something after the string": json.dumps(TEXT).encode() + b', "x"',
    "something after the array": f"[{TEXT}], 2".encode(),
    "two objects in an array": f"[{TEXT}, {TEXT}]".encode(),
    "an array in an array": f"[[{TEXT}]]".encode(),
    "UTF-16 with half a character": TEXT.encode("utf-16")[:-1],
    "UTF-16 with half a pair": b"\xff\xfe\x00\xd8" + TEXT.encode("utf-16-le"),
    "binary after a schema registry's prefix": b"\0\0\0\0\7\2\x0e7300001",
}


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> dict[str, dict[str, object]]:
    """The complaint that is read from each message, with `followed`; None for what is missing."""
    values = [(at, bytearray(value)) for at, value in enumerate((READ | UNREAD).values())]
    messages = spark.createDataFrame(values, "offset bigint, value binary").selectExpr(
        "*",
        "'t' AS topic",
        "0 AS partition",
        "timestamp'2024-01-01' AS timestamp",
        "CAST(NULL AS array<struct<key: string, value: binary>>) AS headers",
    )
    found = messages.transform(landed_from_kafka).transform(parsed).orderBy("offset").collect()
    return {
        name: {**{field: row.raw[field] for field in COMPLAINT}, "followed": row.followed}
        for name, row in zip(READ | UNREAD, found, strict=True)
    }


@pytest.mark.parametrize("name", READ)
def test_a_wrapped_complaint_is_read(rows: dict[str, dict[str, object]], name: str) -> None:
    assert rows[name] == {**COMPLAINT, "followed": False}


@pytest.mark.parametrize("name", UNREAD)
def test_what_may_not_be_the_whole_complaint_is_not_read(rows: dict[str, dict[str, object]], name: str) -> None:
    assert rows[name] == {**dict.fromkeys(COMPLAINT), "followed": False}
