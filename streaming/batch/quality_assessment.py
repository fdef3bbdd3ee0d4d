"""Assess the active model versions: decisions joined to outcomes, and drift of the inputs.

Reads gold.decisions and silver.outcomes; writes gold.model_quality. Only weeks with a new decision or outcome since the
last assessment are computed. Large weeks are sampled: of decisions outside the sample, only the date and id are read.
A decision on a complaint that its version was fitted on, or on a copy of such a narrative, is not judged.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from gold.model_quality import FEWEST_FOR_ALERT, KEYS, quality, stability, with_week
from gold.tables import DECISIONS, FIRST, MODEL_QUALITY
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.step import Step
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from lakehouse.tables.writer_lock import BusyError
from ml.data.examples import learnable, source
from ml.data.reference import OTHER
from ml.features.pipeline import LABEL
from ml.registry.registry import Registry
from ml.registry.versions import CHAMPION
from silver.tables import COMPLAINTS, OUTCOMES

OVERLAP = timedelta(hours=1)  # rows carry their batch's start time but become visible only when it commits
SAMPLE = 100_000  # complaints per week and version: gives a standard error of about 0.003 for AUC-ROC
_BUCKETS = 1_000_000  # number of hash buckets that order complaints for sampling
STORED = f"SELECT * FROM {MODEL_QUALITY.name} ORDER BY week DESC, model_version, measure, feature"  # noqa: S608
QualityRow = Mapping[str, Any]  # a row of gold.model_quality, by its columns


@dataclass(frozen=True)
class QualityAlert:
    """One cause for concern about a version.

    Attributes:
        version: the version.
        measure: population_stability (its complaints differ from training) or ece (its probabilities are off).
        week: Monday of the week that shows it.
        values: the values above the threshold, by feature, largest first.
    """

    version: str
    measure: str
    week: date
    values: Mapping[str, float]

    def __str__(self) -> str:
        """Return the sentence for people."""
        shown = ", ".join(f"{feature} {value:.2f}".strip() for feature, value in self.values.items())
        text = {
            "population_stability": f"the complaints differ from training, by population stability index: {shown}",
            "ece": f"the probabilities differ from the outcomes by {shown} on average",
        }
        return f"Warning: version {self.version}, week of {self.week}: {text[self.measure]}"


def current_alerts(rows: Iterable[QualityRow], version: str) -> list[QualityAlert]:
    """Return the alerts of a version, one per measure, by the latest week with enough complaints for one.

    Args:
        rows: the rows of gold.model_quality.
        version: the version in use; what was wrong with earlier ones needs no action.
    """
    weeks: dict[str, dict[date, list[QualityRow]]] = {}
    for row in rows:
        if row["model_version"] == version and row["rows"] >= FEWEST_FOR_ALERT:
            weeks.setdefault(row["measure"], {}).setdefault(row["week"], []).append(row)
    found = []
    for measure, by_week in sorted(weeks.items()):
        week = max(by_week)
        above = sorted((row for row in by_week[week] if row["is_alert"]), key=lambda row: -row["value"])
        if above:
            found.append(QualityAlert(version, measure, week, {row["feature"]: row["value"] for row in above}))
    return found


@dataclass(frozen=True)
class Assessment:
    """The content of gold.model_quality.

    Attributes:
        rows: latest week first.
        is_current: whether it was updated now; not possible while another process writes the lake.
        alerts: those of the champion.
        notes: which decisions can't be judged, one sentence per version.
    """

    rows: Sequence[QualityRow]
    is_current: bool
    alerts: Sequence[QualityAlert]
    notes: tuple[str, ...]


def assessment(settings: Settings) -> Assessment:
    """Return model quality, updated now, or as last assessed if another process writes the lake.

    Raises:
        ComplaintsError: there are no decisions yet.
    """
    try:
        lock = writer_lock(settings)
    except BusyError:
        if not settings.platform.tables_are_files:
            raise
        from lakehouse.sql.query import query  # noqa: PLC0415 - uses DuckDB, which is not on the cluster

        found = query(settings, [MODEL_QUALITY], STORED)
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        return _assessment_of(rows, Registry(settings), now=False)
    try:
        lake = open_lake(lock, settings)
        if lake.read(DECISIONS).isEmpty():
            msg = "There are no decisions yet whose model could be assessed: run `complaints score` first."
            raise ComplaintsError(msg)
        registry = Registry(settings)
        assess(lake, registry)
        stored = lake.read(MODEL_QUALITY).orderBy(F.desc("week"), "model_version", "measure", "feature")
        return _assessment_of([row.asDict() for row in stored.collect()], registry, now=True)  # bounded: by measure
    finally:
        lock.release()


def _assessment_of(rows: Sequence[QualityRow], registry: Registry, *, now: bool) -> Assessment:
    alerts = current_alerts(rows, registry.version_of(CHAMPION) or "")
    return Assessment(rows, now, alerts, _gaps(registry, rows))


def assess(lake: Lake, registry: Registry) -> list[Row]:
    """Update gold.model_quality; the caller holds the writer lock.

    Returns:
        The rows that were computed.

    Raises:
        ComplaintsError: the registry no longer says how a version that decided was trained.
    """
    began = datetime.now(UTC)
    lake.create([MODEL_QUALITY])
    weeks = _changed_weeks(lake)
    decided = _decided(lake, weeks)
    if not decided:
        return []
    rows = _assessed(lake, registry, decided).withColumn("assessed_at", F.lit(began)).persist()
    keys = " AND ".join(f"t.{name} = s.{name}" for name in (*KEYS, "measure", "feature"))
    merge = lake.delta(MODEL_QUALITY).alias("t").merge(rows.alias("s"), keys)
    former = F.col("t.week").isin(weeks)  # metrics that have too few complaints to judge now
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().whenNotMatchedBySourceDelete(former).execute()
    found = rows.collect()  # bounded: one row per measure
    rows.unpersist()
    return found


def _gaps(registry: Registry, rows: Sequence[QualityRow]) -> tuple[str, ...]:
    versions = sorted({row["model_version"] for row in rows})
    return tuple(f"Version {version}: {gap}" for version in versions if (gap := _gap(registry, version)))


def _gap(registry: Registry, version: str) -> str | None:
    try:
        return registry.record(version).gap()
    except ComplaintsError as error:  # it decided weeks that were assessed while its run was there
        return str(error)


def sampled(sizes: Mapping[date, int]) -> Step:
    """Return the step that samples about `SAMPLE` complaints of each larger week, by a hash of their id.

    When a week grows, all of its sampled complaints that were there before were also in the previous sample.

    Args:
        sizes: number of complaints per week.
    """
    bucket = F.pmod(F.xxhash64(F.lit("assessed"), "complaint_id"), F.lit(_BUCKETS))
    large = {week: size for week, size in sizes.items() if size > SAMPLE}
    kept: list[Column] = [
        F.when(F.col("week") == week, bucket < SAMPLE * _BUCKETS // size) for week, size in large.items()
    ]
    return lambda rows: rows.where(F.coalesce(*kept, F.lit(col=True)))


def _changed_weeks(lake: Lake) -> list[date]:
    """Return the weeks with a new decision or outcome since the last assessment, or an alert by earlier rules."""
    decided, observed = _decisions(lake), _outcomes(lake)
    alerts = lake.read(MODEL_QUALITY).where("is_alert").select("week", "rows").collect()  # bounded: one row per alert
    # An earlier version of this project raised them on any number of rows.
    outdated = {row.week for row in alerts} if any(row.rows < FEWEST_FOR_ALERT for row in alerts) else set[date]()
    (last,) = lake.read(MODEL_QUALITY).agg(F.unix_micros(F.max("assessed_at")).alias("last")).collect()
    if last[0] is not None:
        since = F.lit(datetime.fromtimestamp(last[0] / 1e6, UTC) - OVERLAP)
        decided, observed = decided.where(F.col("scored_at") >= since), observed.where(F.col("observed_at") >= since)
    days = decided.select("date_received").unionByName(observed.select("date_received"))
    weeks = days.where("date_received IS NOT NULL").transform(with_week).select("week").distinct()
    return sorted({row.week for row in weeks.collect()} | outdated)  # bounded: weeks


def _decided(lake: Lake, weeks: Sequence[date]) -> dict[str, dict[date, int]]:
    """Return the number of decided complaints by version and week, for these weeks."""
    found: dict[str, dict[date, int]] = {}
    if weeks:
        rows = _decisions(lake).transform(_of(weeks))
        for row in rows.groupBy("model_version", "week").count().collect():  # bounded: versions and weeks
            found.setdefault(row.model_version, {})[row.week] = row["count"]
    return found


def _decisions(lake: Lake) -> DataFrame:
    return lake.read(DECISIONS).where(FIRST).transform(learnable(lake.settings.ml))


def _outcomes(lake: Lake) -> DataFrame:
    return lake.read(OUTCOMES).withColumnRenamed("complaint_received", "date_received")


def _of(weeks: Collection[date]) -> Step:
    """Return the step that keeps rows received in these weeks and adds `week`."""
    between = F.col("date_received").between(min(weeks), max(weeks) + timedelta(days=6))  # for file skipping
    return lambda rows: rows.where(between).transform(with_week).where(F.col("week").isin(list(weeks)))


def _assessed(lake: Lake, registry: Registry, decided: Mapping[str, Mapping[date, int]]) -> DataFrame:
    label = F.col(LABEL).cast("double").alias("label")
    outcomes = _outcomes(lake).select("complaint_id", "date_received", label)
    parts = []
    for version, sizes in sorted(decided.items()):
        reference = registry.reference(version)
        rows = _decisions(lake).where(F.col("model_version") == version).transform(_of(sizes))
        rows = rows.withColumn("is_new", F.col("ingested_at") > F.lit(registry.version(version).made_at))
        record = registry.record(version)
        new = rows.transform(sampled(sizes)).withColumn("source", source()).transform(record.new)
        known = outcomes.transform(_of(sizes)).transform(sampled(sizes)).select("complaint_id", "label")
        judged = new.join(known, "complaint_id").where("label IS NOT NULL").transform(_with_narrative(lake, sizes))
        drifted = new.transform(stability(reference.edges, reference.shares, OTHER))
        parts += [judged.transform(record.without_copies).transform(quality), drifted]
    return reduce(DataFrame.unionByName, parts)


def _with_narrative(lake: Lake, weeks: Collection[date]) -> Step:
    """Return the step that adds the narrative that a complaint was scored with."""
    narratives = lake.read(COMPLAINTS).transform(_of(weeks)).select("complaint_id", "narrative")
    return lambda rows: rows.join(narratives, "complaint_id", "left")
