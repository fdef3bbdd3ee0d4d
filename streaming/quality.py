"""Assess the versions at work: decisions joined to outcomes as they arrive, and what complaints look like now.

Reads gold.decisions and silver.outcomes; writes gold.model_quality. Assessing again brings its rows up to date.
"""

from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.model_quality import KEYS, quality, stability, with_week
from gold.tables import DECISIONS, MODEL_QUALITY
from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake, writer
from lakehouse.session import start_session
from lakehouse.settings import Settings
from ml.examples import source
from ml.pipeline import LABEL
from ml.reference import OTHER
from ml.registry import Registry
from silver.tables import OUTCOMES


def assess(settings: Settings) -> list[dict[str, Any]]:
    """Bring gold.model_quality up to date.

    Returns:
        Its rows of the versions that decided, latest week first.

    Raises:
        ComplaintsError: another process writes the lake, or there are no decisions yet.
    """
    lock = writer(settings)
    try:
        lake = Lake(start_session(settings), settings)
        lake.create([MODEL_QUALITY])
        rows = _assessed(lake, Registry(settings)).withColumn("assessed_at", F.current_timestamp()).persist()
        keys = " AND ".join(f"t.{name} = s.{name}" for name in (*KEYS, "measure", "feature"))
        merge = lake.delta(MODEL_QUALITY).alias("t").merge(rows.alias("s"), keys)
        merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
        found = rows.orderBy(F.desc("week"), "model_version", "measure", "feature").collect()  # bounded: figures
        rows.unpersist()
    finally:
        lock.release()
    return [row.asDict() for row in found]


def _assessed(lake: Lake, registry: Registry) -> DataFrame:
    label = lake.read(OUTCOMES).select("complaint_id", F.col(LABEL).cast("double").alias("label"))
    decided = lake.read(DECISIONS).join(label, on="complaint_id", how="left").transform(with_week)
    versions = [row.model_version for row in decided.select("model_version").distinct().collect()]
    if not versions:
        msg = "There are no decisions yet whose model could be assessed: run `complaints score` first."
        raise ComplaintsError(msg)
    parts = []
    for version in versions:
        rows = decided.where(F.col("model_version") == version).withColumn("source", source())
        unseen = rows.where(registry.rule(version).held_out())
        reference = registry.reference(version)
        parts += [unseen.transform(quality), unseen.transform(stability(reference.edges, reference.shares, OTHER))]
    return reduce(DataFrame.unionByName, parts)
