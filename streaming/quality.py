"""Assess the versions at work: decisions joined to outcomes as they arrive, and what complaints look like now.

Reads gold.decisions and silver.outcomes; writes gold.model_quality. Only the weeks of those complaints are worked
out that were decided, or whose outcome came, since the last time: the cost is that of new rows and of their weeks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from gold.model_quality import KEYS, quality, stability, with_week
from gold.tables import DECISIONS, MODEL_QUALITY
from lakehouse.errors import ComplaintsError
from lakehouse.lake import BusyError, Lake, writer
from lakehouse.session import start_session
from lakehouse.settings import Settings
from ml.examples import source
from ml.pipeline import LABEL
from ml.reference import OTHER
from ml.registry import Registry
from silver.tables import OUTCOMES

OVERLAP = timedelta(hours=1)  # a row bears the time at which its batch began, and can be read once that has ended
STORED = f"SELECT * FROM {MODEL_QUALITY.name} ORDER BY week DESC, model_version, measure, feature"  # noqa: S608
Figures = Mapping[str, Any]  # a row of gold.model_quality, by its columns


@dataclass(frozen=True)
class Assessment:
    """What gold.model_quality holds.

    Attributes:
        rows: latest week first.
        is_current: whether it was brought up to date now, which it can't be while another process writes the lake.
    """

    rows: Sequence[Figures]
    is_current: bool


def assessment(settings: Settings) -> Assessment:
    """The versions' quality: brought up to date, or as it was last assessed while another process writes the lake.

    Raises:
        ComplaintsError: there are no decisions yet.
    """
    try:
        lock = writer(settings)
    except BusyError:
        if not settings.is_local:
            raise
        from lakehouse.sql import query  # noqa: PLC0415 - by DuckDB, which a cluster hasn't

        found = query(settings, [MODEL_QUALITY], STORED)
        return Assessment([dict(zip(found.columns, row, strict=True)) for row in found.rows], is_current=False)
    try:
        lake = Lake(start_session(settings), settings)
        if lake.read(DECISIONS).isEmpty():
            msg = "There are no decisions yet whose model could be assessed: run `complaints score` first."
            raise ComplaintsError(msg)
        assess(lake, Registry(settings))
        stored = lake.read(MODEL_QUALITY).orderBy(F.desc("week"), "model_version", "measure", "feature")
        return Assessment([row.asDict() for row in stored.collect()], is_current=True)  # bounded: figures
    finally:
        lock.release()


def assess(lake: Lake, registry: Registry) -> list[Row]:
    """Bring gold.model_quality up to date; for whoever has the right to write the lake.

    Returns:
        The rows that were worked out.

    Raises:
        ComplaintsError: the registry no longer says how a version that decided was trained.
    """
    began = datetime.now(UTC)
    lake.create([MODEL_QUALITY])
    touched = _touched(lake)
    if not touched:
        return []
    rows = _assessed(lake, registry, touched).withColumn("assessed_at", F.lit(began)).persist()
    keys = " AND ".join(f"t.{name} = s.{name}" for name in (*KEYS, "measure", "feature"))
    merge = lake.delta(MODEL_QUALITY).alias("t").merge(rows.alias("s"), keys)
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    found = rows.collect()  # bounded: figures
    rows.unpersist()
    return found


def warning(row: Figures) -> str:
    """A row that is an alert, in a sentence."""
    what = f"{row['measure']} {row['feature']}".strip()
    return f"Warning: version {row['model_version']}, week of {row['week']}: {what} is {row['value']:.2f}"


def _touched(lake: Lake) -> dict[str, list[date]]:
    """By version, the weeks with a complaint decided, or an outcome come, since the last assessment."""
    decided = lake.read(DECISIONS).where("date_received IS NOT NULL").transform(with_week)
    (last,) = lake.read(MODEL_QUALITY).agg(F.unix_micros(F.max("assessed_at")).alias("last")).collect()
    if last[0] is not None:
        since = F.lit(datetime.fromtimestamp(last[0] / 1e6, UTC) - OVERLAP)
        came = lake.read(OUTCOMES).where(F.col("observed_at") >= since).select("complaint_id")
        answered = _in_range(decided, came).join(came, on="complaint_id", how="left_semi")
        decided = decided.where(F.col("scored_at") >= since).unionByName(answered)
    found: dict[str, list[date]] = {}
    for row in decided.select("model_version", "week").distinct().collect():  # bounded: versions and weeks
        found.setdefault(row.model_version, []).append(row.week)
    return found


def _in_range(rows: DataFrame, of: DataFrame) -> DataFrame:
    """The rows whose complaint_id lies in the range of others': ids ascend, so that files' statistics rule most out."""
    low, high = of.agg(F.min("complaint_id"), F.max("complaint_id")).collect()[0]
    return rows.where(F.col("complaint_id").between(F.lit(low), F.lit(high)))


def _assessed(lake: Lake, registry: Registry, touched: Mapping[str, Sequence[date]]) -> DataFrame:
    parts = []
    for version, weeks in sorted(touched.items()):
        reference = registry.reference(version)
        of_weeks = F.col("date_received").between(min(weeks), max(weeks) + timedelta(days=6))
        rows = lake.read(DECISIONS).where(of_weeks & (F.col("model_version") == version)).transform(with_week)
        unseen = (
            rows.where(F.col("week").isin(list(weeks)))
            .withColumn("source", source())
            .where(registry.rule(version).held_out())
        )
        label = F.col(LABEL).cast("double").alias("label")
        known = _in_range(lake.read(OUTCOMES), unseen).select("complaint_id", label)
        judged = unseen.join(known, on="complaint_id", how="left")
        parts += [judged.transform(quality), judged.transform(stability(reference.edges, reference.shares, OTHER))]
    return reduce(DataFrame.unionByName, parts)
