"""Split complaints into training, calibration and test sets, without leakage from later to earlier.

By time within each file or topic, so that each era is in both training and test; or at random, by a seed. Copies of one
narrative are never in two sets: they are dropped from the earlier one.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Self

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.settings import MlSettings
from ml.data.examples import narrative_key

FIT, CALIBRATE, TEST = 0, 1, 2
BUCKETS = 1_000_000


@dataclass(frozen=True)
class Rule:
    """How complaints were split; stored with the model, so that an evaluation finds the same test set.

    Attributes:
        split: time or random.
        test_share: share of the test set.
        seed: seed of a random split.
        since: source to the first day of its test set; empty for a random split.
    """

    split: str
    test_share: float
    seed: int
    since: dict[str, date]

    def as_json(self) -> str:
        """Serialize the rule for the registry."""
        return json.dumps({**asdict(self), "since": {source: str(day) for source, day in self.since.items()}})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a rule written by `as_json`."""
        values = json.loads(text)
        since = {source: date.fromisoformat(day) for source, day in values.pop("since").items()}
        return cls(**values, since=since)

    def held_out(self) -> Column:
        """Whether a complaint belongs to the test set; true for a source that training never saw."""
        if self.split == "random":
            return _at_random(self.seed) >= 1 - self.test_share
        since = [F.when(F.col("source") == source, F.col("date_received") >= day) for source, day in self.since.items()]
        return F.coalesce(*since, F.lit(col=True))


def parted(rows: DataFrame, settings: MlSettings) -> DataFrame:
    """Add `part` to complaints with a known label; drop copies of narratives that a later part has too.

    Also adds `slice`, a complaint's rank in its source by time, from 0 to 1, and `key`, equal for equal narratives.
    """
    place = F.percent_rank().over(Window.partitionBy("source").orderBy("date_received"))
    test_from = 1 - settings.test_share
    calibrate_from = test_from * (1 - settings.calibration_share)
    at = _at_random(settings.seed) if settings.split == "random" else F.col("slice")
    part = F.when(at >= test_from, TEST).when(at >= calibrate_from, CALIBRATE).otherwise(FIT)
    last = F.max("part").over(Window.partitionBy("key"))
    return (
        rows.withColumn("slice", place)
        .withColumn("key", _key())
        .withColumn("part", part)
        .withColumn("_last", last)
        .where(F.col("part") == F.col("_last"))
        .drop("_last")
    )


def rule_of(parted_rows: DataFrame, settings: MlSettings) -> Rule:
    """Return the rule by which complaints were split."""
    since = {}
    if settings.split == "time":
        first = parted_rows.where(F.col("part") == TEST).groupBy("source").agg(F.min("date_received").alias("day"))
        since = {row.source: row.day for row in first.collect()}  # bounded: one row per file or topic
    return Rule(settings.split, settings.test_share, settings.seed, since)


def fold(fit: DataFrame, number: int, folds: int) -> tuple[DataFrame, DataFrame]:
    """Return the `number`th cross-validation fold: the earlier rows, and the next slice of time.

    The training set is cut into `folds + 2` slices by time. Each fold evaluates on one of the last `folds` slices and
    trains on all rows before it, except copies of the narratives in that slice.
    """
    width = 1.0 / (folds + 2)
    at = F.percent_rank().over(Window.partitionBy("source").orderBy("date_received"))
    begin, end = (number + 2) * width, (number + 3) * width
    placed = fit.withColumn("_at", at).where(F.col("_at") < end)
    evaluated = F.col("_at") >= begin
    copied = F.max(evaluated).over(Window.partitionBy("key"))
    placed = placed.withColumn("_copied", copied)
    return placed.where(~evaluated & ~F.col("_copied")), placed.where(evaluated)


def _key() -> Column:
    return F.coalesce(narrative_key(), F.concat(F.lit("id:"), F.col("complaint_id").cast("string")))


def _at_random(seed: int) -> Column:
    return F.pmod(F.xxhash64(_key(), F.lit(seed)), F.lit(BUCKETS)) / BUCKETS
