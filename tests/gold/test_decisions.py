"""gold.decisions: one complete decision per scored complaint, with exactly the table's columns."""

from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.decide import URGENCIES, load_decisions
from gold.decisions import STAMPED, decisions
from gold.tables import DECISIONS
from lakehouse.tables.lake import Lake
from ml.scoring.scoring import scored
from silver.tables import COMPLAINTS
from tests.conftest import Trained


def with_stamps(decided: DataFrame) -> DataFrame:
    """Add the columns that the batch writer adds."""
    stamps = {"scored_at": F.current_timestamp(), "batch_id": F.lit(0).cast("bigint")}
    return decided.withColumns(stamps).select(DECISIONS.column_names)


def test_each_complaint_gets_one_decision_that_fits_the_table(spark: SparkSession, trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    probability = (F.pmod(F.col("complaint_id"), F.lit(101)) / 100).alias("probability")
    with_score = complaints.select(
        "*",
        probability,
        F.when(F.col("has_narrative"), "text").otherwise("structure").alias("scored_with"),
        F.array().cast("array<struct<feature:string,contribution:double>>").alias("influences"),
        F.lit("m").alias("model_name"),
        F.lit("1").alias("model_version"),
    )
    decided = decisions(load_decisions(spark, COMPLAINTS.schema))(with_score)
    assert decided.columns == [name for name in DECISIONS.column_names if name not in STAMPED]
    stamped = with_stamps(decided)
    declared = {field.name: field.dataType for field in DECISIONS.schema.fields}
    assert {field.name: field.dataType for field in stamped.schema.fields} == declared
    rows = stamped.collect()  # bounded: the trained lake has a few hundred complaints
    assert len(rows) == len({row.complaint_id for row in rows}) == complaints.count()
    for row in rows:
        assert row.urgency in URGENCIES
        assert row.team
        assert row.recommended_action
        assert row.rules == [reason.rule for reason in row.reasons]
        assert all(reason.reason and reason.basis for reason in row.reasons)
        assert row.due_on is None or row.due_on >= row.date_received


def test_decisions_of_a_real_model_are_stored_with_the_constraints_of_the_table(
    spark: SparkSession, trained: Trained, lake: Lake
) -> None:
    lake.create([DECISIONS])
    complaints = trained.lake.read(COMPLAINTS).limit(40)
    decided = decisions(load_decisions(spark, COMPLAINTS.schema))(scored(trained.model)(complaints))
    lake.append(with_stamps(decided), DECISIONS, "test:0")
    stored = lake.read(DECISIONS)
    assert stored.count() == 40
    assert stored.where("probability NOT BETWEEN 0 AND 1 OR size(reasons) = 0 OR size(influences) = 0").count() == 0
    assert stored.where(F.col("date_received") > F.lit(date(2030, 1, 1))).count() == 0
