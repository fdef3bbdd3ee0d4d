"""The summarising query: gold.decisions to the aggregates, apart from the hot path, each batch added exactly once."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.aggregates import KEYS, TIME, by_day, by_minute, merged
from gold.tables import BY_DAY, BY_MINUTE
from lakehouse.catalogue import Table
from lakehouse.commits import Guard
from lakehouse.held import held
from lakehouse.lake import USER_METADATA, Lake


class SummariseBatch:
    """Adds one batch of decisions to the aggregates; called by Spark with each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard) -> None:
        self._lake = lake
        self._guard = guard

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Merge the batch's increments into each aggregate that does not hold them yet."""
        batch.sparkSession.conf.set(USER_METADATA, self._guard.mark(batch_id))
        with held(batch) as decisions:
            for table, increments in ((BY_MINUTE, by_minute), (BY_DAY, by_day)):
                if self._guard.written(table, batch_id) is None:
                    self._add(decisions.transform(increments), table)

    def _add(self, increments: DataFrame, table: Table) -> None:
        time = TIME[table]
        # As text by Spark: Python would turn a timestamp into the machine's own time zone.
        bounds = increments.agg(F.min(time).cast("string"), F.max(time).cast("string")).first()
        if bounds is None or bounds[0] is None:
            return
        kind = dict(increments.dtypes)[time].upper()
        near = f"t.{time} BETWEEN {kind}'{bounds[0]}' AND {kind}'{bounds[1]}'"
        same = " AND ".join(f"t.{key} = s.{key}" for key in KEYS[table])
        (
            self._lake.delta(table, increments.sparkSession)
            .alias("t")
            .merge(increments.alias("s"), f"{near} AND {same}")
            .whenMatchedUpdate(set={**merged(table)})
            .whenNotMatchedInsertAll()
            .execute()
        )
