"""Chores are done beside the stream, each at its own pace; one that fails is told, and is tried again."""

import threading

from pyspark.sql import SparkSession

from streaming.upkeep import POOL, Chore, Upkeep
from tests.streaming.conftest import wait_until


def test_each_chore_has_its_own_pace_and_one_that_fails_is_told_and_tried_again(spark: SparkSession) -> None:
    done: list[str] = []
    told: list[str] = []

    def fail() -> None:
        done.append("failing")
        msg = "the disk is full"
        raise OSError(msg)

    chores = [
        Chore("The tables could not be maintained", 0.05 / 60, fail),
        Chore("The model could not be assessed", 0.1 / 60, lambda: done.append(str(pool(spark)))),
        Chore("Never due", 60, lambda: done.append("never")),
    ]
    with Upkeep(spark, chores, told.append):
        wait_until(lambda: done.count(POOL) >= 3, 30, "the third round")
    assert done.count("failing") > done.count(POOL)
    assert "never" not in done
    assert set(told) == {"The tables could not be maintained (the disk is full); it is tried again."}
    ended = len(done)
    assert not [thread for thread in threading.enumerate() if thread.name == POOL]
    assert len(done) == ended


def pool(spark: SparkSession) -> str | None:
    return spark.sparkContext.getLocalProperty("spark.scheduler.pool")


def test_a_round_under_way_is_finished_before_the_stream_ends(spark: SparkSession) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        threading.Event().wait(0.3)
        ended.set()

    with Upkeep(spark, [Chore("Slow work failed", 0.01 / 60, slow)], lambda _: None):
        assert begun.wait(30)
    assert ended.is_set()
