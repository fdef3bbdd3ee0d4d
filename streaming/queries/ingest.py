"""The ingest query: Kafka to bronze.complaints, each offset exactly once."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze.land import not_landed_before
from bronze.tables import COMPLAINTS, ERASURES
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import stamped
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from streaming.queries.checkpoints import read_up_to


class IngestBatch:
    """Appends one batch of Kafka messages; Spark calls it for each batch of the query.

    The rows in bronze say which messages have landed. The first batch after a start checks whether they go beyond the
    checkpoint; usually they don't. While they do, each batch skips the messages that are already there.
    """

    def __init__(self, lake: Lake, guard: Guard) -> None:
        self._lake = lake
        self._guard = guard
        self._topic = lake.settings.kafka.input.name
        self._folder = Path(lake.checkpoint("ingest"))
        self._landed: dict[int, int] | None = None  # partition -> last stored offset, if at or past the batch

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append the batch's messages that the table has never had."""
        rows = stamped(batch, "ingested_at").coalesce(1)  # one file per batch, however many partitions the topic has
        begin = self._begin(batch_id) if self._landed is None or self._landed else {}
        if self._landed is None:
            self._landed = self._landed_beyond(begin)
        self._landed = {p: last for p, last in self._landed.items() if begin.get(p, 0) <= last}
        if not self._landed:
            self._lake.append(rows, COMPLAINTS, self._guard.mark(batch_id))
            return
        with held(self._new(rows, begin, batch_id)) as new:
            if not new.isEmpty():
                self._lake.append(new, COMPLAINTS, self._guard.mark(batch_id))

    def _begin(self, batch_id: int) -> dict[int, int]:
        """Return the start offset by partition, without partitions that the query has not read before."""
        return read_up_to(self._folder, batch_id - 1, self._topic) if batch_id else {}

    def _landed_beyond(self, begin: dict[int, int]) -> dict[int, int]:
        """Return the last offset by partition that bronze has had from `begin` on, of any topic of this name."""
        coordinates = F.split("record_id", "/")
        erased = self._lake.read(ERASURES).select(
            coordinates[0].alias("topic"), coordinates[1].cast("int").alias("partition"),
            coordinates[2].cast("bigint").alias("offset"),
        )  # fmt: skip
        landed = self._lake.read(COMPLAINTS).select("topic", "partition", "offset").unionByName(erased)
        beyond = _any((F.col("partition") == p) & (F.col("offset") >= offset) for p, offset in begin.items())
        added = F.col("partition") > max(begin, default=-1)  # partitions added since the query last read
        wanted = (F.col("topic") == self._topic) & (beyond | added)
        found = landed.where(wanted).groupBy("partition").agg(F.max("offset").alias("last"))
        return {row.partition: row["last"] for row in found.collect()}  # bounded: one row per partition

    def _new(self, rows: DataFrame, begin: dict[int, int], batch_id: int) -> DataFrame:
        """Return the rows that bronze has never had; file statistics skip files outside the batch's offsets."""
        end = read_up_to(self._folder, batch_id, self._topic)
        within = _any(
            (F.col("partition") == p) & F.col("offset").between(begin.get(p, 0), last - 1) for p, last in end.items()
        )
        spark = rows.sparkSession
        landed = self._lake.read(COMPLAINTS, spark=spark).where((F.col("topic") == self._topic) & within)
        return not_landed_before(rows, landed, self._lake.read(ERASURES, spark=spark)).coalesce(1)


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(or_, conditions, F.lit(col=False))
