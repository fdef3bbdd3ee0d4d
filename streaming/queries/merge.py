"""The merge query: silver.outcome_reports to silver.outcomes, off the hot path.

Merging the same reports again changes nothing, so a batch that is run again does no harm. Grain: one complaint.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.spark.held import held
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import USER_METADATA, Lake
from lakehouse.tables.maintenance import compact_small_files
from silver.outcomes import latest_outcomes
from silver.tables import OUTCOMES


class MergeBatch:
    """Merges one batch of outcome reports; Spark calls it for each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard) -> None:
        self._lake = lake
        self._guard = guard

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Merge the reports into silver.outcomes, in at most one commit."""
        spark = batch.sparkSession
        with held(batch) as reports:
            range_ = reports.agg(F.min("complaint_id").alias("low"), F.max("complaint_id").alias("high")).first()
            if range_ is None or range_["low"] is None:
                return
            near = f"complaint_id BETWEEN {range_['low']:d} AND {range_['high']:d}"
            ids = F.broadcast(reports.select("complaint_id").distinct())
            stored = self._lake.read(OUTCOMES, spark=spark).where(near).join(ids, "complaint_id", "left_semi")
            with held(latest_outcomes(reports, stored, self._lake.settings.silver.successful_resolution)) as latest:
                if not latest.isEmpty():
                    spark.conf.set(USER_METADATA, self._guard.mark(batch_id))
                    self._merge(latest, near)
                    if self._lake.settings.platform.tables_are_files:  # elsewhere the platform does
                        compact_small_files(self._lake, OUTCOMES)

    def _merge(self, latest: DataFrame, near: str) -> None:
        (
            self._lake.delta(OUTCOMES, latest.sparkSession)
            .alias("t")
            .merge(latest.alias("s"), f"t.{near} AND t.complaint_id = s.complaint_id")
            .whenMatchedUpdateAll()
            .whenNotMatchedInsertAll()
            .execute()
        )
