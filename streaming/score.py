"""The scoring query: silver.complaints to gold.decisions, published on Kafka as well.

The decision in the table comes exactly once; on Kafka at least once, with the same key and content each time, since
what is published again is read from the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.tables import DECISIONS, SHADOW
from lakehouse.commits import Guard
from lakehouse.held import held
from lakehouse.lake import Lake
from lakehouse.per_batch import per_batch, stamped
from lakehouse.planned import Step, planned


@dataclass(frozen=True)
class Publishing:
    """Where decisions are published: the topic, and Spark's Kafka options (servers, security)."""

    topic: str
    options: Mapping[str, str]


class ScoreBatch:
    """Writes one batch of decisions; called by Spark with each batch of the query."""

    def __init__(self, lake: Lake, guard: Guard, publishing: Publishing | None) -> None:
        self._lake = lake
        self._guard = guard
        self._publishing = publishing
        self._columns = [F.col(name) for name in DECISIONS.column_names]  # made once: each is a question to the JVM
        self._messages = planned(messages, lake.settings)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append the decisions and publish them; when the table holds them already, publish those again."""
        version = self._guard.written(DECISIONS, batch_id)
        if version is not None:
            stored = self._lake.read(DECISIONS, version=version, spark=batch.sparkSession)
            self._publish(stored.where(F.col("batch_id") == batch_id), messages)
            return
        rows = stamped(batch, "scored_at").withColumn("batch_id", per_batch(batch_id, "record_id").cast("bigint"))
        with held(rows.select(self._columns)) as decisions:
            self._lake.append(decisions, DECISIONS, self._guard.mark(batch_id))
            self._publish(decisions, self._messages)

    def _publish(self, decisions: DataFrame, step: Step) -> None:
        if self._publishing is not None:
            publish(decisions.transform(step), self._publishing)


def messages(decisions: DataFrame) -> DataFrame:
    """What is published: `key` is the complaint id, `value` the decision as JSON, without what a challenger says."""
    columns = [name for name in DECISIONS.column_names if name not in SHADOW]
    key, value = F.col("complaint_id").cast("string"), F.to_json(F.struct(*columns))
    return decisions.select(key.alias("key"), value.alias("value"))


def publish(rows: DataFrame, publishing: Publishing) -> None:
    """Send the rows of `messages` to Kafka."""
    rows.write.format("kafka").options(**publishing.options).option("topic", publishing.topic).save()
