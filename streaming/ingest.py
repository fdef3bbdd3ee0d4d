"""The ingesting query: Kafka to bronze.complaints, every offset once."""

from pyspark.sql import DataFrame

from bronze.tables import COMPLAINTS
from lakehouse.commits import Guard
from lakehouse.lake import Lake
from lakehouse.per_batch import stamped


class IngestBatch:
    """Appends one batch of landed messages; called by Spark with each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard) -> None:
        self._lake = lake
        self._guard = guard

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append the batch unless the table holds it already."""
        if self._guard.written(COMPLAINTS, batch_id) is None:
            rows = stamped(batch, "ingested_at").coalesce(1)  # a file a batch, whatever the topic's partitions
            self._lake.append(rows, COMPLAINTS, self._guard.mark(batch_id))
