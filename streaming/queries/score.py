"""The score query: silver.complaints to gold.decisions, also published to Kafka.

A decision is written to the table exactly once and to Kafka at least once. Repeated messages have the same key and
content, because they are read from the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.tables import DECISIONS, SHADOW
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import per_batch, stamped
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake
from streaming.queries.checkpoints import reads_in_order


@dataclass(frozen=True)
class Publishing:
    """Where decisions are published: the topic, and Spark's Kafka options (servers, security)."""

    topic: str
    options: Mapping[str, str]


class ScoreBatch:
    """Writes one batch of decisions; Spark calls it for each batch of the query.

    The rows of gold.decisions say which complaints are decided. After a start, batches are compared with them until one
    is newer than all of them; from then on the source delivers only new rows, in order.
    """

    def __init__(self, lake: Lake, guard: Guard, publishing: Publishing | None) -> None:
        self._lake = lake
        self._guard = guard
        self._publishing = publishing
        self._columns = [F.col(name) for name in DECISIONS.column_names]  # built once: each is a call to the JVM
        self._messages = planned(messages, lake.settings)
        self._is_past_decided = False  # the source has no more decided rows
        self._decided_until: int | None = None  # microseconds; rows refined later are not decided

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append and publish the decisions missing from the table; publish those already there again."""
        rows = stamped(batch, "scored_at").withColumn("batch_id", per_batch(batch_id, "record_id").cast("bigint"))
        with held(rows.select(self._columns)) as decisions:
            if self._may_be_written(decisions, batch_id):
                self._write_missing(decisions, batch_id)
            else:
                self._lake.append(decisions, DECISIONS, self._guard.mark(batch_id))
                self._publish(decisions, self._messages)

    def _may_be_written(self, decisions: DataFrame, batch_id: int) -> bool:
        """Whether gold may have decisions of the batch; needs no read once a batch was newer than all of them."""
        if self._is_past_decided:
            return False
        if self._decided_until is None:
            last = self._lake.read(DECISIONS).agg(F.max(F.unix_micros("refined_at"))).first()
            self._decided_until = (last and last[0]) or 0
        first = decisions.agg(F.min(F.unix_micros("refined_at"))).first()
        beyond = first is not None and first[0] is not None and first[0] > self._decided_until
        in_order = not self._decided_until or reads_in_order(Path(self._lake.checkpoint("score")), batch_id)
        self._is_past_decided = beyond and in_order
        return not beyond

    def _write_missing(self, decisions: DataFrame, batch_id: int) -> None:
        """Append the batch's decisions that are missing from the table, and publish all of them."""
        ids = decisions.agg(F.min("complaint_id").alias("low"), F.max("complaint_id").alias("high")).first()
        if ids is None or ids["low"] is None:
            return
        table = self._lake.read(DECISIONS, spark=decisions.sparkSession)
        near = table.where(F.col("complaint_id").between(ids["low"], ids["high"]))
        own = decisions.select("record_id")
        with held(near.join(own, "record_id", "left_semi").select(self._columns)) as stored:
            known = stored.select("record_id")
            self._publish(stored, messages)
            with held(decisions.join(known, "record_id", "left_anti").select(self._columns)) as missing:
                if not missing.isEmpty():
                    self._lake.append(missing, DECISIONS, self._guard.mark(batch_id))
                    self._publish(missing, messages)

    def _publish(self, decisions: DataFrame, step: Step) -> None:
        if self._publishing is not None:
            publish(decisions.transform(step), self._publishing)


def messages(decisions: DataFrame) -> DataFrame:
    """Return messages: `key` is the complaint id, `value` the decision as JSON without shadow scores."""
    columns = [name for name in DECISIONS.column_names if name not in SHADOW]
    key, value = F.col("complaint_id").cast("string"), F.to_json(F.struct(*columns))
    return decisions.select(key.alias("key"), value.alias("value"))


def publish(rows: DataFrame, publishing: Publishing) -> None:
    """Send the rows of `messages` to Kafka."""
    rows.write.format("kafka").options(**publishing.options).option("topic", publishing.topic).save()
