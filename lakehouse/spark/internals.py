"""Private APIs of Spark and Delta; all uses are here and in `planned`, `held` and `session`.

Private APIs can change with any version. They are called only with the tested versions (`is_tested`); with other
versions the plain, slower path is used, or the call is skipped.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from lakehouse.setup.jar_sets import DELTA_VERSION, SPARK_VERSION


def is_tested(spark: SparkSession) -> bool:
    """Whether the private calls were tested with these versions of Spark and Delta."""
    return spark.version == SPARK_VERSION and version("delta-spark") == DELTA_VERSION


def jvm_of(spark: SparkSession) -> Any:  # noqa: ANN401 - py4j's view of the JVM, which has no types
    """The session's JVM, for access to Java classes by name."""
    return spark._jvm


@dataclass(frozen=True)
class JavaProcess:
    """The session's Java process.

    Attributes:
        pid: the process id.
        runtime: Java's `Runtime`, for heap usage.
    """

    pid: int
    runtime: Any

    @property
    def heap_bytes(self) -> int:
        """The used heap in bytes."""
        return int(self.runtime.totalMemory() - self.runtime.freeMemory())


def java_process(spark: SparkSession) -> JavaProcess:
    """The Java process that the session runs in."""
    java = jvm_of(spark).java.lang
    return JavaProcess(int(java.ProcessHandle.current().pid()), java.Runtime.getRuntime())


def checkpoint_table(spark: SparkSession, path: Path) -> None:
    """Write a Delta checkpoint of a table's log now; the public API only sets an interval in commits."""
    jvm_of(spark).org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(path)).checkpoint()


@dataclass(frozen=True)
class TableState:
    """A Delta table as of its latest commit: the id from its creation, and the commit's number."""

    table_id: str
    version: int


def table_state(spark: SparkSession, path: Path) -> TableState:
    """The state of a table; for its id the public API also reads the whole log, to count files."""
    jvm = jvm_of(spark)
    log = jvm.org.apache.spark.sql.delta.DeltaLog
    snapshot = log.forTableWithSnapshot(spark._jsparkSession, jvm.org.apache.hadoop.fs.Path(str(path)))._2()
    return TableState(str(snapshot.metadata().id()), int(snapshot.version()))


@dataclass(frozen=True)
class Analyzed:
    """The analyzed plan of a select: its Catalyst classes, and whether it is deterministic."""

    classes: frozenset[str]
    is_deterministic: bool


def analyzed(frame: DataFrame) -> Analyzed:
    """Analyze a DataFrame's plan; no rows are read."""
    plan = frame._jdf.queryExecution().analyzed()
    classes = (node["class"].rpartition(".")[2] for node in _nodes(json.loads(plan.toJSON())))
    return Analyzed(frozenset(classes), bool(plan.deterministic()))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)
