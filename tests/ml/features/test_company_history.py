"""A company's history includes only outcomes known before a complaint arrived."""

import math
from datetime import date

from pyspark.sql import SparkSession

from ml.features.company_history import HISTORY, lookup, with_history

BASE, WEIGHT, ANSWER_DAYS = 0.2, 1.0, 15
COLUMNS = "complaint_id bigint, company string, date_received date, label double"
ROWS = [
    (1, "A BANK", date(2023, 1, 1), 1.0),
    (2, "A BANK", date(2023, 1, 16), 0.0),  # the 15th day after: not yet known
    (3, "A BANK", date(2023, 1, 17), 1.0),
    (4, "A BANK", date(2023, 2, 2), 0.0),
    (5, "B BANK", date(2023, 2, 2), 1.0),
    (6, None, date(2023, 2, 3), 1.0),
]


def shift(successes: float, answered: float) -> float:
    rate = (successes + WEIGHT * BASE) / (answered + WEIGHT)
    return math.log(rate / (1 - rate)) - math.log(BASE / (1 - BASE))


def test_a_complaint_sees_outcomes_known_before_its_day_and_never_its_own(spark: SparkSession) -> None:
    rows = spark.createDataFrame(ROWS, COLUMNS).transform(with_history(BASE, WEIGHT, ANSWER_DAYS))
    found = {row.complaint_id: row[HISTORY] for row in rows.collect()}
    expected = {1: 0.0, 2: 0.0, 3: shift(1, 1), 4: shift(2, 3), 5: 0.0, 6: 0.0}
    assert {number: round(value, 9) for number, value in found.items()} == {
        number: round(value, 9) for number, value in expected.items()
    }


def test_flipping_later_outcomes_changes_no_earlier_history(spark: SparkSession) -> None:
    step = with_history(BASE, WEIGHT, ANSWER_DAYS)
    flipped = [(*row[:3], 1 - row[3]) if row[2] >= date(2023, 1, 17) else row for row in ROWS]
    before, after = (
        {r.complaint_id: r[HISTORY] for r in spark.createDataFrame(rows, COLUMNS).transform(step).collect()}
        for rows in (ROWS, flipped)
    )
    assert {number: before[number] for number in (1, 2, 3)} == {number: after[number] for number in (1, 2, 3)}
    assert before[4] != after[4]


def test_the_lookup_has_each_company_as_of_the_end(spark: SparkSession) -> None:
    found = lookup(spark.createDataFrame(ROWS, COLUMNS), BASE, WEIGHT)
    assert found.keys() == {"A BANK", "B BANK"}
    assert math.isclose(found["A BANK"], shift(2, 4))
