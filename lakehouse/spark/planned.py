"""A step that Spark plans once, and then runs on batch after batch.

Spark plans the steps of a streaming query for each batch, and once more to describe them to its listeners: with
hundreds of expressions that was half of the driver's work on a batch of some hundred rows. What differs between two
batches is the leaf of the plan alone, the rows that came. So the physical plan of the first batch is kept, and each
later batch gets a copy of it with its own leaf.
"""

from typing import Any

from pyspark.sql import DataFrame

from lakehouse.settings import Settings
from lakehouse.spark.internals import is_tested
from lakehouse.step import Step


def planned(step: Step, settings: Settings) -> Step:
    """The step, planned once where the session is the project's own; elsewhere as it is."""
    return Planned(step) if settings.is_local else step


class Planned:
    """A step of one streaming query, as a function from batch to rows.

    Only for steps that work row by row, whose expressions depend on nothing but their row: no other table, no clock. It
    calls Spark's own classes; on a version that was not tested the step is planned for each batch.

    Args:
        step: from the columns of a batch to those of the rows.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._template: _Template | None = None
        self._is_plain: bool | None = None

    def __call__(self, batch: DataFrame) -> DataFrame:
        """The rows that the step gives for this batch, of the type that it gives by itself."""
        if self._is_plain is None:
            self._is_plain = not is_tested(batch.sparkSession)
        if self._is_plain:
            return self._step(batch)
        schema = batch._jdf.schema()
        if self._template is None or not self._template.takes(schema):
            self._template = _Template(self._step, batch, schema)
        return self._template.rows(batch)


class _Template:
    """The plan for batches with the columns of the first one."""

    def __init__(self, step: Step, batch: DataFrame, schema: Any) -> None:  # noqa: ANN401 - an object of the JVM
        spark = batch.sparkSession
        jvm: Any = spark._jvm
        # Looked up once: for each part of a name the JVM looks through every jar.
        self._no_leaves = getattr(getattr(jvm.scala.collection.immutable, "Map$"), "MODULE$").empty()
        self._executed = jvm.org.apache.spark.sql.execution.SQLExecutionRDD
        self._scan = jvm.org.apache.spark.sql.execution.RDDScanExec
        self._takes = schema
        rows = step(_frame(spark, _rows(batch), schema))
        self._plan = rows._jdf.queryExecution().executedPlan()
        self._leaf = _leaf(self._plan)
        self._gives = rows._jdf.schema()

    def takes(self, schema: Any) -> bool:  # noqa: ANN401 - an object of the JVM
        """Whether a batch with this schema has the very columns that were planned for."""
        return bool(schema.equals(self._takes))

    def rows(self, batch: DataFrame) -> DataFrame:
        """The rows of a batch."""
        spark = batch.sparkSession
        old = self._leaf
        leaf = self._scan(old.output(), _rows(batch), old.name(), old.outputPartitioning(), old.outputOrdering())
        plan = self._plan.transform(self._no_leaves.updated(old, leaf))
        conf = spark._jsparkSession.sessionState().conf()
        return _frame(spark, self._executed(plan.execute(), conf), self._gives)


def _rows(frame: DataFrame) -> Any:  # noqa: ANN401 - an object of the JVM
    """Spark's own rows of a frame, worked out when they are asked for."""
    return frame._jdf.queryExecution().toRdd()


def _frame(spark: Any, rows: Any, schema: Any) -> DataFrame:  # noqa: ANN401 - objects of the JVM
    return DataFrame(spark._jsparkSession.internalCreateDataFrame(rows, schema, False), spark)  # noqa: FBT003


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
