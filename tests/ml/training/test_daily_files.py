"""Complaints that arrive in a file per day are trained on, and no version is judged on what it was fitted on."""

import csv
import gzip
from collections.abc import Iterable
from datetime import date
from itertools import groupby, islice
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.model_quality import quality
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from ml.data.examples import examples
from ml.data.split import TEST, parted
from ml.evaluation import evaluation, promotion
from ml.evaluation.evaluation import evaluate
from ml.evaluation.promotion import compared
from ml.registry.registry import Registry
from ml.scoring.scoring import Model
from ml.training.training import train
from silver.tables import COMPLAINTS, OUTCOMES
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from streaming.batch.quality_assessment import assessment
from tests.conftest import SAMPLES, Trained

DAYS, PER_DAY = 25, 24
STREAMED_ON, COPIED_ON = date(2026, 11, 29), date(2026, 11, 30)
OFFSET = 1_000_000_000  # added to the id of a complaint that is sent again


def daily_files(folder: Path) -> list[Path]:
    """Cut the last days of the 2014 sample into a file each."""
    with gzip.open(SAMPLES / "export-2014-structured.csv.gz", "rt", encoding="utf-8", newline="") as text:
        header, *rows = [row for row in csv.reader(text) if len(row) == 14]
    at = header.index("Date received")

    def day(row: list[str]) -> date:
        month, of_month, year = map(int, row[at].split("/"))
        return date(year, month, of_month)

    folder.mkdir()
    files = []
    for received, of_day in islice(groupby(sorted(rows, key=day, reverse=True), day), DAYS):
        files.append(folder / f"complaints-{received}.csv")
        with files[-1].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *islice(of_day, PER_DAY)])
    return files


def arrive(lake: Lake, complaints: DataFrame, outcomes: DataFrame, day: date) -> None:
    """Add complaints with their outcomes as if a stream had received them on one day."""
    record = F.concat(F.lit("complaints-input/0/"), F.col("complaint_id"))
    streamed = complaints.withColumns({"date_received": F.lit(day), "record_id": record})
    lake.append(streamed, COMPLAINTS, f"test:{day}")
    lake.append(outcomes.withColumn("complaint_received", F.lit(day)), OUTCOMES, f"test:{day}")


def fitted(lake: Lake) -> set[int]:
    """The complaints that a training would fit or calibrate on now."""
    parts = parted(examples(lake).where("label IS NOT NULL"), lake.settings.ml)
    return {row.complaint_id for row in parts.where(F.col("part") != TEST).select("complaint_id").collect()}


@pytest.fixture(scope="module")
def lake(spark: SparkSession, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with daily files, a first version, a day of the stream, a second version, and copies after that."""
    folder = tmp_path_factory.mktemp("daily")
    lake = Lake(spark, load_settings(root=folder / "lake", ml=trained.lake.settings.ml.model_dump()))
    assert not load_files(lake.settings, daily_files(folder / "files"), lambda *_: None).errors
    return lake


class Judged:
    """Which complaints each version was judged on: recorded where the metrics are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: dict[str, set[int]] = {}
        scored, probabilities = evaluation._scored, promotion._probabilities

        def evaluated(test: DataFrame, lake: Lake, model: Model) -> pd.DataFrame:
            table = scored(test, lake, model)
            self._add(model.version, table[table["label"].notna()]["complaint_id"])
            return table

        def compared(registry: Registry, version: str, rows: DataFrame) -> dict[int, tuple[float, float]]:
            found = probabilities(registry, version, rows)
            self._add(version, found)
            return found

        def assessed(decided: DataFrame) -> DataFrame:
            for row in decided.select("model_version", "complaint_id").collect():
                self._add(row.model_version, [row.complaint_id])
            return quality(decided)

        monkeypatch.setattr(evaluation, "_scored", evaluated)
        monkeypatch.setattr(promotion, "_probabilities", compared)
        monkeypatch.setattr("streaming.batch.quality_assessment.quality", assessed)

    def _add(self, version: str, ids: Iterable[int]) -> None:
        self.ids.setdefault(version, set()).update(int(one) for one in ids)

    def taken(self) -> dict[str, set[int]]:
        """Return what was recorded since the last call."""
        found, self.ids = self.ids, {}
        return found


def test_twenty_five_daily_files_are_trained_on_and_no_version_is_judged_on_what_it_was_fitted_on(
    lake: Lake, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, judged = Registry(lake.settings), Judged(monkeypatch)
    of = {"1": fitted(lake)}
    first = train(lake, registry, lambda _: None)
    assert (first.version, first.is_champion) == ("1", True)
    assert first.train_rows > 200
    assert first.metrics.rows > 80
    score_backlog(lake.settings, lambda *_: None)

    outcomes = trained.lake.read(OUTCOMES)
    arrive(lake, trained.lake.read(COMPLAINTS), outcomes, STREAMED_ON)
    score_backlog(lake.settings, lambda *_: None)
    of["2"] = fitted(lake)
    second = train(lake, registry, lambda _: None)
    streamed = {row.complaint_id for row in outcomes.select("complaint_id").collect()}
    assert second.version == "2"
    assert of["2"] & streamed
    assert of["1"] != of["2"]
    nothing_fitted_is_in(judged.taken(), of, {"1", "2"})  # the comparison before the promotion

    learned = trained.lake.read(COMPLAINTS).where(F.col("complaint_id").isin(list(of["2"] & streamed)))
    copies = learned.where("has_narrative").withColumn("complaint_id", F.col("complaint_id") + OFFSET)
    again = outcomes.withColumn("complaint_id", F.col("complaint_id") + OFFSET)
    arrive(lake, copies, again.join(copies, "complaint_id", "left_semi"), COPIED_ON)
    score_backlog(lake.settings, lambda *_: None)
    for version in ("1", "2"):
        evaluate(lake, registry, lambda _: None, version=version)
    found = judged.taken()
    nothing_fitted_is_in(found, of, {"1", "2"})
    assert len(found["2"]) == second.metrics.rows
    assert len(found["1"] & streamed) > len(found["2"] & streamed) > 0  # the first version saw none of them
    compared(lake, registry, "1", "2")
    assert judged.taken()["1"] == found["1"] & found["2"]
    assessment(lake.settings)
    nothing_fitted_is_in(judged.taken(), of, {"1"})


def nothing_fitted_is_in(judged: dict[str, set[int]], fitted: dict[str, set[int]], versions: set[str]) -> None:
    assert judged.keys() == versions
    for version, ids in judged.items():
        assert ids
        assert not ids & fitted[version]
        assert version == "1" or max(ids) < OFFSET  # copies of narratives that it was fitted on
