"""What Spark and Delta keep private and this project calls: all of it is here, in `planned`, `held` and `session`.

Private calls can change with any version. They are made only on the versions that were tested (`is_tested`); with
others the plain, slower path is taken, or the call is left out.
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
    """Whether Spark and Delta are the versions that the private calls were tested with."""
    return spark.version == SPARK_VERSION and version("delta-spark") == DELTA_VERSION


def jvm_of(spark: SparkSession) -> Any:  # noqa: ANN401 - py4j's view of the JVM, which has no types
    """The session's JVM, by whose names Java classes are called."""
    return spark._jvm


@dataclass(frozen=True)
class JavaProcess:
    """The session's Java process.

    Attributes:
        pid: its process id.
        runtime: Java's `Runtime`, which knows the heap.
    """

    pid: int
    runtime: Any

    @property
    def heap_bytes(self) -> int:
        """Bytes of the heap that are in use."""
        return int(self.runtime.totalMemory() - self.runtime.freeMemory())


def java_process(spark: SparkSession) -> JavaProcess:
    """The Java process that the session runs in."""
    java = jvm_of(spark).java.lang
    return JavaProcess(int(java.ProcessHandle.current().pid()), java.Runtime.getRuntime())


def checkpoint_table(spark: SparkSession, path: Path) -> None:
    """Write a Delta checkpoint of a table's log now; Delta's public API only lets it happen every so many commits."""
    jvm_of(spark).org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(path)).checkpoint()


@dataclass(frozen=True)
class Analyzed:
    """What Spark's analyzer made of a select: Catalyst's classes, and whether it gives the same rows each time."""

    classes: frozenset[str]
    is_deterministic: bool


def analyzed(frame: DataFrame) -> Analyzed:
    """The analyzed plan of a frame, none of whose rows is read."""
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
