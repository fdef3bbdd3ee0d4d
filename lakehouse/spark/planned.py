"""A step that Spark plans once and then runs on every batch.

Spark plans the steps of a streaming query for each batch, and again to describe them to its listeners: with hundreds of
expressions that was half of the driver's work on a batch of a few hundred rows. Only the leaves of the plan, the input
rows, differ between batches. So the physical plan of the first batch is stored, and each later batch runs a copy of it
with its own leaves.

Running a plan generates the source text of its code again, to find the compiled classes by it: a tenth of the work on
such a batch. A step that reads one input once, without a shuffle, is a chain of functions from partition to partition.
Those of the first batch are stored too, and applied to the rows of each later batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import DataFrame

from lakehouse.settings import Settings
from lakehouse.spark.internals import is_tested

MAPPED = "org.apache.spark.rdd.MapPartitionsRDD"
HELD = "org.apache.spark.sql.execution.LogicalRDD"
SCAN = "org.apache.spark.sql.execution.RDDScanExec"

AnyStep = Callable[..., DataFrame]  # from one or more DataFrames


def planned(step: AnyStep, settings: Settings) -> AnyStep:
    """Return the step planned once, where the platform does so, or else unchanged."""
    return Planned(step) if settings.platform.plans_steps_once else step


class Planned:
    """A step of one streaming query, planned once.

    Only for steps that read nothing but their inputs, and whose expressions depend only on their row: no other table,
    no clock. It calls private Spark classes; with an untested version the step is planned for each batch.

    Args:
        step: the step to apply to each batch and what comes with it.
    """

    def __init__(self, step: AnyStep) -> None:
        self._step = step
        self._templates: list[_Template] = []  # one for each set of columns that the inputs had
        self._is_plain: bool | None = None

    def __call__(self, *inputs: DataFrame) -> DataFrame:
        """Return the rows that the step returns for these inputs."""
        if self._is_plain is None:
            self._is_plain = not is_tested(inputs[0].sparkSession)
        if self._is_plain:
            return self._step(*inputs)
        schemas = [rows._jdf.schema() for rows in inputs]
        template = next((each for each in self._templates if each.accepts(schemas)), None)
        if template is None:
            template = _Template(self._step, inputs, schemas)
            self._templates.append(template)
        return template.rows(inputs)


class _Template:
    """The physical plan for inputs with the same columns as the first ones."""

    def __init__(self, step: AnyStep, inputs: Sequence[DataFrame], schemas: Sequence[Any]) -> None:
        spark = inputs[0].sparkSession
        jvm: Any = spark._jvm
        # Looked up once: for each part of a name the JVM searches every jar.
        self._no_leaves = getattr(getattr(jvm.scala.collection.immutable, "Map$"), "MODULE$").empty()
        self._executed = jvm.org.apache.spark.sql.execution.SQLExecutionRDD
        self._scan = jvm.org.apache.spark.sql.execution.RDDScanExec
        self._input_schemas = schemas
        rows = [_rows(each) for each in inputs]
        result = step(*(_frame(spark, own, schema) for own, schema in zip(rows, schemas, strict=True)))
        self._chain: _Chain | None = None
        self._plan = result._jdf.queryExecution().executedPlan()
        self._leaves = _leaves(self._plan, rows)
        self._output_schema = result._jdf.schema()

    def accepts(self, schemas: Sequence[Any]) -> bool:
        """Whether these schemas are those that were planned for."""
        own = self._input_schemas
        return len(schemas) == len(own) and all(one.equals(other) for one, other in zip(schemas, own, strict=True))

    def rows(self, inputs: Sequence[DataFrame]) -> DataFrame:
        """Return the step's rows for a batch."""
        spark = inputs[0].sparkSession
        rows = [_rows(each) for each in inputs]
        if self._chain is not None:
            executed = self._chain.applied_to(rows[0])
        else:
            executed = self._execute(rows)
            self._chain = _Chain.between(spark, rows[0], executed) if len(self._leaves) == 1 else None
        conf = spark._jsparkSession.sessionState().conf()
        return _frame(spark, self._executed(executed, conf), self._output_schema)

    def _execute(self, rows: Sequence[Any]) -> Any:  # noqa: ANN401 - an RDD of the JVM
        replaced = self._no_leaves
        for old, at in self._leaves:
            leaf = self._scan(old.output(), rows[at], old.name(), old.outputPartitioning(), old.outputOrdering())
            replaced = replaced.updated(old, leaf)
        return self._plan.transform(replaced).execute()


class _Chain:
    """Functions that are applied to the rows of each partition, one after the other.

    Args:
        spark: the session.
        functions: each with the class tags of what it returns and takes.
    """

    def __init__(self, spark: Any, functions: Sequence[tuple[Any, Any, Any]]) -> None:  # noqa: ANN401
        self._mapped = spark._jvm.org.apache.spark.rdd.MapPartitionsRDD
        self._functions = functions

    @classmethod
    def between(cls, spark: Any, rows: Any, executed: Any) -> "_Chain | None":  # noqa: ANN401 - objects of the JVM
        """Return the functions between two RDDs; None if one was not made from the other by such functions alone."""
        functions = []
        while not executed.equals(rows):
            kind = executed.getClass()
            if kind.getName() != MAPPED:
                return None
            function = kind.getDeclaredField("f")
            function.setAccessible(True)
            before = executed.prev()
            functions.append((function.get(executed), executed.elementClassTag(), before.elementClassTag()))
            executed = before
        return cls(spark, functions[::-1])

    def applied_to(self, rows: Any) -> Any:  # noqa: ANN401 - RDDs of the JVM
        """Return the rows with the functions applied."""
        for function, returned, taken in self._functions:
            rows = self._mapped(rows, function, False, False, False, returned, taken)  # noqa: FBT003
        return rows


def _rows(frame: DataFrame) -> Any:  # noqa: ANN401 - an object of the JVM
    """Spark's internal rows of a DataFrame, computed lazily; held rows and those of a batch need no plan."""
    execution = frame._jdf.queryExecution()
    plan = execution.analyzed()
    return plan.rdd() if plan.getClass().getName() == HELD else execution.toRdd()


def _frame(spark: Any, rows: Any, schema: Any) -> DataFrame:  # noqa: ANN401 - objects of the JVM
    return DataFrame(spark._jsparkSession.internalCreateDataFrame(rows, schema, False), spark)  # noqa: FBT003


def _leaves(plan: Any, rows: Sequence[Any]) -> list[tuple[Any, int]]:  # noqa: ANN401 - objects of the JVM
    """Return the leaves of a plan, each with the number of the input whose rows it reads.

    Raises:
        ValueError: a leaf is none of the inputs, so the step reads more than those.
    """
    leaves = plan.collectLeaves()
    found = []
    for leaf in (leaves.apply(at) for at in range(leaves.size())):
        is_scan = leaf.getClass().getName() == SCAN
        of = [at for at, own in enumerate(rows) if is_scan and leaf.rdd().equals(own)]
        if not of:
            msg = f"a step that is planned once may only read its batch, but this one also reads {leaf.nodeName()}"
            raise ValueError(msg)
        found.append((leaf, of[0]))
    return found
