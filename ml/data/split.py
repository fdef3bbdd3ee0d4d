"""Part complaints into those to fit on, to calibrate on, and to test on, so that no part knows of a later one.

By time within each file or topic, so that each era is both learned from and judged; or at random, by a seed. Copies of
one narrative are never on both sides: the earlier part gives them up.
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
    """How complaints were parted; kept with the model, so that an evaluation finds the same test part.

    Attributes:
        split: time or random.
        test_share: share of the test part.
        seed: of a random split.
        since: source to the first day of its test part; empty for a random split.
    """

    split: str
    test_share: float
    seed: int
    since: dict[str, date]

    def as_json(self) -> str:
        """The rule as text, for the registry."""
        return json.dumps({**asdict(self), "since": {source: str(day) for source, day in self.since.items()}})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The rule that `as_json` wrote."""
        values = json.loads(text)
        since = {source: date.fromisoformat(day) for source, day in values.pop("since").items()}
        return cls(**values, since=since)

    def held_out(self) -> Column:
        """Whether a complaint belongs to the test part; one of a source that training never saw does."""
        if self.split == "random":
            return _at_random(self.seed) >= 1 - self.test_share
        since = [F.when(F.col("source") == source, F.col("date_received") >= day) for source, day in self.since.items()]
        return F.coalesce(*since, F.lit(col=True))


def parted(rows: DataFrame, settings: MlSettings) -> DataFrame:
    """Adds `part` to complaints with a known label, and leaves out of each part copies of a later part's narratives.

    Also adds `slice`, a complaint's place in its source from 0 to 1 by time, and `key`, equal for equal narratives.
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
    """The rule by which complaints were parted."""
    since = {}
    if settings.split == "time":
        first = parted_rows.where(F.col("part") == TEST).groupBy("source").agg(F.min("date_received").alias("day"))
        since = {row.source: row.day for row in first.collect()}  # bounded: one row per file or topic
    return Rule(settings.split, settings.test_share, settings.seed, since)


def fold(fit: DataFrame, number: int, folds: int) -> tuple[DataFrame, DataFrame]:
    """The `number`th of the cross-validation's folds: what came before, and the next slice of time.

    Of the fit part's span, each fold judges on one of the last `folds` of `folds + 2` slices and learns from all before
    it, short of copies of the narratives that it judges on.
    """
    width = 1.0 / (folds + 2)
    at = F.percent_rank().over(Window.partitionBy("source").orderBy("date_received"))
    begin, end = (number + 2) * width, (number + 3) * width
    placed = fit.withColumn("_at", at).where(F.col("_at") < end)
    judged = F.col("_at") >= begin
    copied = F.max(judged).over(Window.partitionBy("key"))
    placed = placed.withColumn("_copied", copied)
    return placed.where(~judged & ~F.col("_copied")), placed.where(judged)


def _key() -> Column:
    return F.coalesce(narrative_key(), F.concat(F.lit("id:"), F.col("complaint_id").cast("string")))


def _at_random(seed: int) -> Column:
    return F.pmod(F.xxhash64(_key(), F.lit(seed)), F.lit(BUCKETS)) / BUCKETS
