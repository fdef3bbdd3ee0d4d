"""A step that Spark plans once and then runs on every batch.

Spark plans the steps of a streaming query for each batch, and again to describe them to its listeners: with hundreds of
expressions that was half of the driver's work on a batch of a few hundred rows. Only the leaf of the plan, the input
rows, differs between batches. So the physical plan of the first batch is stored, and each later batch runs a copy of it
with its own leaf.
"""

from typing import Any

from pyspark.sql import DataFrame

from lakehouse.settings import Settings
from lakehouse.spark.internals import is_tested
from lakehouse.step import Step


def planned(step: Step, settings: Settings) -> Step:
    """Return the step planned once, where the platform does so, or else unchanged."""
    return Planned(step) if settings.platform.plans_steps_once else step


class Planned:
    """A step of one streaming query, planned once.

    Only for steps that work row by row and whose expressions depend only on their row: no other table, no clock. It
    calls private Spark classes; with an untested version the step is planned for each batch.

    Args:
        step: the step to apply to each batch.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._template: _Template | None = None
        self._is_plain: bool | None = None

    def __call__(self, batch: DataFrame) -> DataFrame:
        """Return the rows that the step returns for this batch."""
        if self._is_plain is None:
            self._is_plain = not is_tested(batch.sparkSession)
        if self._is_plain:
            return self._step(batch)
        schema = batch._jdf.schema()
        if self._template is None or not self._template.accepts(schema):
            self._template = _Template(self._step, batch, schema)
        return self._template.rows(batch)


class _Template:
    """The physical plan for batches with the same columns as the first one."""

    def __init__(self, step: Step, batch: DataFrame, schema: Any) -> None:  # noqa: ANN401 - an object of the JVM
        spark = batch.sparkSession
        jvm: Any = spark._jvm
        # Looked up once: for each part of a name the JVM searches every jar.
        self._no_leaves = getattr(getattr(jvm.scala.collection.immutable, "Map$"), "MODULE$").empty()
        self._executed = jvm.org.apache.spark.sql.execution.SQLExecutionRDD
        self._scan = jvm.org.apache.spark.sql.execution.RDDScanExec
        self._input_schema = schema
        rows = step(_frame(spark, _rows(batch), schema))
        self._plan = rows._jdf.queryExecution().executedPlan()
        self._leaf = _leaf(self._plan)
        self._output_schema = rows._jdf.schema()

    def accepts(self, schema: Any) -> bool:  # noqa: ANN401 - an object of the JVM
        """Whether this schema is the one that was planned for."""
        return bool(schema.equals(self._input_schema))

    def rows(self, batch: DataFrame) -> DataFrame:
        """Return the step's rows for a batch."""
        spark = batch.sparkSession
        old = self._leaf
        leaf = self._scan(old.output(), _rows(batch), old.name(), old.outputPartitioning(), old.outputOrdering())
        plan = self._plan.transform(self._no_leaves.updated(old, leaf))
        conf = spark._jsparkSession.sessionState().conf()
        return _frame(spark, self._executed(plan.execute(), conf), self._output_schema)


def _rows(frame: DataFrame) -> Any:  # noqa: ANN401 - an object of the JVM
    """Spark's internal rows of a DataFrame, computed lazily."""
    return frame._jdf.queryExecution().toRdd()


def _frame(spark: Any, rows: Any, schema: Any) -> DataFrame:  # noqa: ANN401 - objects of the JVM
    return DataFrame(spark._jsparkSession.internalCreateDataFrame(rows, schema, False), spark)  # noqa: FBT003


def _leaf(plan: Any) -> Any:  # noqa: ANN401 - an object of the JVM
    """Return the single leaf of a plan.

    Raises:
        ValueError: the plan has several leaves, so the step reads more than the batch.
    """
    leaves = plan.collectLeaves()
    if leaves.size() != 1:
        msg = f"a step that is planned once may only read its batch, but this one has {leaves.size()} sources"
        raise ValueError(msg)
    return leaves.head()
