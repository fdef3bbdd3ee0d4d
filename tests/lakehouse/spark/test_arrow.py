"""Rows come to the driver as Arrow, the same with and without Spark's private call, and go back the same."""

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from lakehouse.spark import arrow as module
from lakehouse.spark.arrow import arrow, frame

SCHEMA = "record_id string, complaint_id bigint"
ROWS = """
    SELECT id, CAST(id AS string) AS text, array(CAST(id AS int), NULL) AS numbers, timestamp_micros(id) AS at,
           IF(id = 1, NULL, array('a', CAST(id AS string))) AS words
    FROM range({count})
"""


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_both_ways_give_the_same_table(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    frame = spark.sql(ROWS.format(count=count)).repartition(3)
    direct = arrow(frame).sort_by("id")
    monkeypatch.setattr(module, "is_tested", lambda _: False)
    assert direct.equals(arrow(frame).sort_by("id"))
    assert direct.num_rows == count
    assert direct.schema.field("numbers").type == pa.list_(pa.field("element", pa.int32()))


@pytest.mark.parametrize("count", [0, 3])
def test_rows_of_the_driver_become_a_data_frame(spark: SparkSession, count: int) -> None:
    records = {f"record {number}": number for number in range(count)}
    rows = frame({"record_id": records, "complaint_id": list(records.values())}, SCHEMA, spark)
    assert rows.dtypes == [("record_id", "string"), ("complaint_id", "bigint")]
    assert dict(rows.collect()) == records
