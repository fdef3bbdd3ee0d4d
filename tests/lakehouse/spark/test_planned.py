"""A step that is planned once returns the same rows for each batch as the step itself."""

from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.spark.held import held
from lakehouse.spark.planned import Planned

NUMBERS = "number bigint, word string"


def doubled(rows: DataFrame) -> DataFrame:
    return rows.where("word IS NOT NULL").select(
        (F.col("number") * 2).alias("twice"), F.upper("word").alias("word"), F.lit(col=True).alias("is_kept")
    )


class Batches:
    """Batches like those of a streaming query: the same columns, each with its own rows."""

    def __init__(self, spark: SparkSession, columns: str = NUMBERS) -> None:
        self._spark = spark
        self._columns = columns
        self._empty = spark.createDataFrame([], columns)

    def of(self, *records: tuple[int, str | None]) -> DataFrame:
        rows = self._spark.createDataFrame(list(records), self._columns)._jdf.queryExecution().toRdd()
        jvm: Any = self._spark._jvm
        leaf = getattr(getattr(jvm.org.apache.spark.sql.execution, "LogicalRDD$"), "MODULE$")
        frame = getattr(getattr(jvm.org.apache.spark.sql, "Dataset$"), "MODULE$")
        plan = leaf.fromDataset(rows, self._empty._jdf, False)  # noqa: FBT003
        return DataFrame(frame.ofRows(self._spark._jsparkSession, plan), self._spark)


def test_each_batch_gets_the_rows_of_the_step(spark: SparkSession) -> None:
    batches, planned = Batches(spark), Planned(doubled)
    for rows in ([(1, "a"), (2, None)], [(3, "b")], [], [(4, "c"), (5, "d"), (6, None)]):
        batch = batches.of(*rows)
        assert_df_equality(planned(batch), doubled(batch), ignore_row_order=True)


def test_the_step_is_called_once_while_the_columns_stay_the_same(spark: SparkSession) -> None:
    calls = []

    def counted(rows: DataFrame) -> DataFrame:
        calls.append(rows.columns)
        return doubled(rows)

    planned, batches = Planned(counted), Batches(spark)
    for number in range(3):
        assert planned(batches.of((number, "a"))).collect() == [(2 * number, "A", True)]
    assert len(calls) == 1
    smaller = Batches(spark, "number int, word string").of((9, "z"))
    for _ in range(2):
        assert planned(smaller).collect() == [(18, "Z", True)]
        assert planned(batches.of((4, "b"))).collect() == [(8, "B", True)]
    assert len(calls) == 2


def test_a_column_added_before_the_step_differs_per_batch(spark: SparkSession) -> None:
    batches, planned = Batches(spark), Planned(lambda rows: rows.select("word", "batch"))
    for number in range(3):
        batch = batches.of((number, "a")).withColumn("batch", F.lit(f"of {number}"))
        assert planned(batch).collect() == [("a", f"of {number}")]


def test_a_step_that_reads_more_than_its_batch_is_refused(spark: SparkSession) -> None:
    batches = Batches(spark)
    other = batches.of((1, "b"))
    with pytest.raises(ValueError, match="this one also reads Scan ExistingRDD"):
        Planned(lambda rows: rows.union(other))(batches.of((1, "a")))


def test_each_batch_is_joined_with_what_comes_with_it(spark: SparkSession) -> None:
    calls = []

    def joined(rows: DataFrame, verdicts: DataFrame) -> DataFrame:
        calls.append(rows.columns)
        return rows.join(F.broadcast(verdicts), "number", "left").select("number", "word", "verdict")

    planned, batches, verdicts = Planned(joined), Batches(spark), Batches(spark, "number bigint, verdict string")
    for number in range(3):
        batch, own = batches.of((number, "a"), (number + 10, "b")), verdicts.of((number, f"verdict {number}"))
        expected = [(number, "a", f"verdict {number}"), (number + 10, "b", None)]
        assert sorted(map(tuple, planned(batch, own).collect())) == expected
    assert len(calls) == 1


def test_functions_without_a_shuffle_are_applied_to_later_batches_as_they_are(spark: SparkSession) -> None:
    def marked(rows: DataFrame) -> DataFrame:
        lengths = F.transform(F.split("word", ""), F.length)  # no code is generated for a lambda
        return rows.select("number", F.spark_partition_id().alias("partition"), F.size(lengths).alias("letters"))

    batches, planned = Batches(spark), Planned(marked)
    for rows in ([(1, "a"), (2, "bcd")], [(3, None), (4, "ef"), (5, "g")], [(6, "h")]):
        for batch in (batches.of(*rows), batches.of(*rows).where("number > 0")):
            assert_df_equality(planned(batch), marked(batch), ignore_row_order=True)
        with held(batches.of(*rows)) as kept:
            assert_df_equality(planned(kept), marked(kept), ignore_row_order=True)
            assert_df_equality(planned(kept), marked(kept), ignore_row_order=True)
    assert planned._templates[0]._chain is not None


def test_a_step_with_a_shuffle_is_run_from_its_plan(spark: SparkSession) -> None:
    batches = Batches(spark)
    counting = Planned(lambda rows: rows.groupBy("word").agg(F.sum("number").alias("sum")))
    for number in range(3):
        found = counting(batches.of((number, "a"), (1, "a"), (7, "b"))).collect()
        assert sorted(map(tuple, found)) == [("a", number + 1), ("b", 7)]
    assert counting._templates[0]._chain is None


def test_an_input_may_be_read_twice_and_another_left_out(spark: SparkSession) -> None:
    calls = []

    def beside_the_last(rows: DataFrame, *others: DataFrame) -> DataFrame:
        calls.append(rows.columns)
        last = rows.agg(F.max("number").alias("last"))
        for other in others:
            last = last.crossJoin(F.broadcast(other.select(F.col("word").alias("other"))))
        return rows.crossJoin(F.broadcast(last))

    planned, batches = Planned(beside_the_last), Batches(spark)
    for number in range(2):
        batch, other = batches.of((number, "a"), (number + 5, "b")), batches.of((0, f"other {number}"))
        for inputs in ([batch], [batch, other]):
            assert_df_equality(planned(*inputs), beside_the_last(*inputs), ignore_row_order=True)
    assert len(calls) == 2 + 4
