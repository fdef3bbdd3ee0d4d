"""Split complaints into training, calibration and test sets, without leakage from later to earlier.

By time within each feed, so that each era is in both training and test; or at random, by a seed. Copies of one
narrative are never in two sets: they are dropped from the earlier one.
"""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from lakehouse.step import Step
from ml.data.examples import feed, narrative_key

FIT, CALIBRATE, TEST = 0, 1, 2
BUCKETS = 1_000_000


def parted(rows: DataFrame, settings: MlSettings) -> DataFrame:
    """Add `part` to complaints with a known label; drop copies of narratives that a later part has too.

    Also adds `feed`, `key`, equal for equal narratives, and `slice`, a complaint's rank in its feed by time, from 0 to
    1.
    """
    test_from = 1 - settings.test_share
    calibrate_from = test_from * (1 - settings.calibration_share)
    at = _at_random(settings.seed) if settings.split == "random" else F.col("slice")
    part = F.when(at >= test_from, TEST).when(at >= calibrate_from, CALIBRATE).otherwise(FIT)
    last = F.max("part").over(Window.partitionBy("key"))
    return (
        rows.withColumn("feed", feed())
        .withColumn("key", narrative_or_id())
        .transform(_sliced(calibrate_from, test_from))
        .withColumn("part", part)
        .withColumn("_last", last)
        .where(F.col("part") == F.col("_last"))
        .drop("_last")
    )


def _sliced(calibrate_from: float, test_from: float) -> Step:
    """Return the step that adds `slice`: the same for all complaints of a day, if that leaves each part a day.

    Otherwise, as in a feed of a single day, the complaints of a day are ordered by a hash of their key.
    """
    in_feed = Window.partitionBy("feed")
    place = F.percent_rank().over(in_feed.orderBy("date_received"))
    is_calibrated = (F.col("_day") >= calibrate_from) & (F.col("_day") < test_from)
    has_all = F.max(is_calibrated).over(in_feed) & F.max(F.col("_day") >= test_from).over(in_feed)
    by_hash = _rank_by_time()

    def add(rows: DataFrame) -> DataFrame:
        placed = rows.withColumn("_day", place).withColumn("_row", by_hash)
        return placed.withColumn("slice", F.when(has_all, F.col("_day")).otherwise(F.col("_row"))).drop("_day", "_row")

    return add


def _rank_by_time() -> Column:
    """Rank in the feed from 0 to 1, by day and then by a hash of the key: copies on one day have the same rank."""
    return F.percent_rank().over(Window.partitionBy("feed").orderBy("date_received", F.xxhash64("key")))


def cuts_of(parts: DataFrame) -> dict[str, date]:
    """Return the first day of each feed's test set, or the last day of a feed without one."""
    tested_since = F.min(F.when(F.col("part") == TEST, F.col("date_received")))
    day = F.coalesce(tested_since, F.max("date_received")).alias("day")
    found = parts.groupBy("feed").agg(day).collect()  # bounded: one row per feed
    return {row.feed: row.day for row in sorted(found)}


def fold(fit: DataFrame, number: int, folds: int) -> tuple[DataFrame, DataFrame]:
    """Return the `number`th cross-validation fold: the earlier rows, and the next slice of time.

    The training set is cut into `folds + 2` slices by time. Each fold evaluates on one of the last `folds` slices and
    trains on all rows before it, except copies of the narratives in that slice.
    """
    width = 1.0 / (folds + 2)
    begin, end = (number + 2) * width, (number + 3) * width
    placed = fit.withColumn("_at", _rank_by_time()).where(F.col("_at") < end)
    evaluated = F.col("_at") >= begin
    copied = F.max(evaluated).over(Window.partitionBy("key"))
    placed = placed.withColumn("_copied", copied)
    return placed.where(~evaluated & ~F.col("_copied")), placed.where(evaluated)


def id_key() -> Column:
    """The key of a complaint without a narrative."""
    return F.concat(F.lit("id:"), F.col("complaint_id").cast("string"))


def narrative_or_id() -> Column:
    """The key of a complaint: equal for copies of one narrative."""
    return F.coalesce(narrative_key(), id_key())


def _at_random(seed: int) -> Column:
    """A number from 0 to 1 by the key and a seed."""
    return F.pmod(F.xxhash64("key", F.lit(seed)), F.lit(BUCKETS)) / BUCKETS
