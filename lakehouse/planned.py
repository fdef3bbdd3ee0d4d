"""A step that Spark plans once, and then runs on batch after batch.

Spark plans the steps of a streaming query for each batch, and once more to describe them to its listeners: with
hundreds of expressions that was half of the driver's work on a batch of some hundred rows. What differs between two
batches is the leaf of the plan alone, the rows that came. So the physical plan of the first batch is kept, and each
later batch gets a copy of it with its own leaf.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame

Step = Callable[[DataFrame], DataFrame]


class Planned:
    """A step of one streaming query, as a function from batch to rows.

    Only for steps that work row by row, whose expressions depend on nothing but their row: no other table, no clock. It
    asks Spark's own classes, so it is for the session that this project brings; elsewhere the step itself does.

    Args:
        step: from the columns of a batch to those of the rows.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._template: _Template | None = None

    def __call__(self, batch: DataFrame) -> DataFrame:
        """The rows that the step gives for this batch, of the type that it gives by itself."""
        leaf = _leaf(_physical(batch))
        if self._template is None or not self._template.takes(leaf):
            self._template = _Template(self._step(batch))
        return self._template.rows(leaf, batch)


class _Template:
    """The plan of the first batch."""

    def __init__(self, rows: DataFrame) -> None:
        jvm: Any = rows.sparkSession._jvm  # noqa: SLF001
        # Looked up once: for each part of a name the JVM looks through every jar.
        self._no_leaves = getattr(getattr(jvm.scala.collection.immutable, "Map$"), "MODULE$").empty()
        self._rdd = jvm.org.apache.spark.sql.execution.SQLExecutionRDD
        self._plan = _physical(rows)
        self._leaf = _leaf(self._plan)
        self._schema = rows._jdf.schema()  # noqa: SLF001 - Spark's own plan has no other door

    def takes(self, leaf: Any) -> bool:  # noqa: ANN401 - an object of the JVM
        """Whether a batch with this leaf has the very columns that were planned for."""
        return bool(leaf.output().equals(self._leaf.output()))

    def rows(self, leaf: Any, batch: DataFrame) -> DataFrame:  # noqa: ANN401 - an object of the JVM
        """The rows of the batch that has this leaf."""
        spark = batch.sparkSession
        session: Any = spark._jsparkSession  # noqa: SLF001
        other = self._no_leaves.updated(self._leaf, leaf)
        rows = self._rdd(self._plan.transform(other).execute(), session.sessionState().conf())
        return DataFrame(session.internalCreateDataFrame(rows, self._schema, False), spark)  # noqa: FBT003


def _physical(frame: DataFrame) -> Any:  # noqa: ANN401 - an object of the JVM
    return frame._jdf.queryExecution().executedPlan()  # noqa: SLF001


def _leaf(plan: Any) -> Any:  # noqa: ANN401 - an object of the JVM
    """The one leaf of a plan.

    Raises:
        ValueError: it has several: the step reads more than the batch.
    """
    leaves = plan.collectLeaves()
    if leaves.size() != 1:
        msg = f"a step that is planned once reads its batch alone, and this one has {leaves.size()} sources"
        raise ValueError(msg)
    return leaves.head()
