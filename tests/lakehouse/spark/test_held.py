"""Held rows do not change when their table does, are computed once, and are released in the end."""

from contextlib import suppress

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.spark.held import held
from lakehouse.tables.lake import Lake
from silver.tables import EXPECTATIONS


def broken(lake: Lake, batch: int) -> DataFrame:
    record = {"query_id": "q", "batch_id": batch, "rule": "state_unknown", "checked": 10, "broken": 1}
    return lake.frame([record], EXPECTATIONS)


def test_rows_held_by_a_batch_do_not_see_its_own_commits(lake: Lake) -> None:
    lake.create([EXPECTATIONS])
    lake.append(broken(lake, 1), EXPECTATIONS, "q:1")
    with held(lake.read(EXPECTATIONS)) as rows:
        assert rows.count() == 1
        lake.append(broken(lake, 2), EXPECTATIONS, "q:2")
        assert [row.batch_id for row in rows.collect()] == [1]
    assert lake.read(EXPECTATIONS).count() == 2


def test_rows_are_computed_once_by_the_first_action(spark: SparkSession) -> None:
    numbers = spark.range(4).withColumn("at", F.expr("reflect('java.lang.System', 'nanoTime')"))
    assert numbers.collect() != numbers.collect()
    with held(numbers) as rows:
        assert rows.collect() == rows.collect()


def stored_blocks(spark: SparkSession) -> int:
    return len(spark.sparkContext._jsc.getPersistentRDDs())


def test_nothing_is_held_after_the_batch_even_if_it_failed(spark: SparkSession) -> None:
    before = stored_blocks(spark)
    with suppress(ZeroDivisionError), held(spark.range(4)) as rows:
        assert rows.count() == 4
        assert stored_blocks(spark) > before
        raise ZeroDivisionError
    assert stored_blocks(spark) == before
