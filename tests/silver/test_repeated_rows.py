"""A row of the last full export says nothing new while what is known of its complaint is as it was."""

import random

import numpy as np
import pyarrow as pa
import pytest

from silver.known_complaints import KnownComplaints
from silver.repeated_rows import RepeatedRows, States, payload_hashes
from tests.silver.test_known_complaints import bare, judged, row, table

Row = dict[str, object]


def exported(known: KnownComplaints, *rows: Row) -> RepeatedRows:
    """The rows of an export whose payloads are their record ids."""
    keys = table(*rows)
    return RepeatedRows.of([RepeatedRows(hashes(keys), keys["complaint_id"].to_numpy(), States(known).after(keys))])


def hashes(keys: pa.Table) -> np.ndarray:
    return payload_hashes(keys["record_id"])


def says_nothing_new(before: RepeatedRows, known: KnownComplaints, each: Row) -> bool:
    repeated, is_same = before.unchanged(hashes(table(each)), States(known))
    assert list(repeated.ids) == [each["complaint_id"]] * int(is_same[0])
    return bool(is_same[0])


def test_a_row_says_nothing_new_until_its_complaint_changes() -> None:
    known, first = KnownComplaints(), row(1, 1, response=7)
    before = exported(known, first)
    assert not says_nothing_new(before, known, first), "the complaint is not known yet"
    judged(known, first, row(2, 2))
    assert says_nothing_new(before, known, first)
    judged(known, row(2, 3, company=5))
    assert says_nothing_new(before, known, first), "another complaint has changed"
    assert not says_nothing_new(before, known, row(1, 9, response=7)), "another payload"
    judged(known, row(1, 4, response=8))
    assert not says_nothing_new(before, known, first)
    assert says_nothing_new(exported(known, row(1, 4, response=8)), known, row(1, 4, response=8))


def test_what_a_row_leaves_out_is_not_a_change() -> None:
    known = KnownComplaints()
    judged(known, row(1, 1, response=7), bare(1, 2))
    short = row(1, 3, company=0)
    before = exported(known, short)
    judged(known, short)
    assert says_nothing_new(before, known, short)


def test_of_rows_with_the_same_payload_one_is_kept_and_no_rows_repeat_nothing() -> None:
    known = KnownComplaints()
    judged(known, row(1, 1))
    assert len(RepeatedRows.of([exported(known, row(1, 1)), exported(known, row(1, 1))]).ids) == 1
    for nothing in (RepeatedRows.none(), RepeatedRows.of([])):
        assert not says_nothing_new(nothing, known, row(1, 1))
    assert not says_nothing_new(exported(known, row(1, 1)), KnownComplaints(), row(1, 1))


@pytest.mark.parametrize("seed", range(5))
def test_a_row_that_says_nothing_new_would_not_when_compared_with_silver(seed: int) -> None:
    dice, known, exports = random.Random(seed), KnownComplaints(), list[tuple[RepeatedRows, Row]]()
    repeats = 0
    for at in range(300):
        company, response = dice.choice([0, 1, 2]), dice.choice([0, 7, 9])
        each = row(dice.randrange(10), at, company=company, response=response, narrative=dice.choice([0, 5, 11]))
        exports.append((exported(known, each), each))
        judged(known, each)
        for before, earlier in dice.sample(exports, min(10, len(exports))):
            if says_nothing_new(before, known, earlier):
                repeats += 1
                assert known.unchanged(table(earlier)).all()
    assert repeats > 100
