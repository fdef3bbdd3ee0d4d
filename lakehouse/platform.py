"""How the two platforms differ: a folder on one machine, and a Databricks workspace.

The platform is chosen once, by `Settings.platform`. Code asks for the one property that it depends on. How a table is
created, read and written on each is in `lakehouse.tables.stores`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """What a platform provides, and what the project does itself.

    Attributes:
        tables_are_files: tables, their logs and checkpoints are files below the root, which code reads without Spark.
        starts_spark: the project starts Spark and sets its heap and class path; otherwise the cluster does.
        plans_steps_once: a step of a stream is planned once and its plan reused (`lakehouse.spark.planned`), through
            private classes of Spark; otherwise Spark plans it for each batch.
        has_one_writer: one process writes the lake and holds its lock; otherwise each query takes a lease.
        stream_maintains: the stream maintains the tables it writes; otherwise a scheduled job does.
        has_broker: an embedded broker is started where the settings name none.
        has_registry_file: models are in an MLflow registry below the root; otherwise MLflow's variables locate it.
    """

    tables_are_files: bool
    starts_spark: bool
    plans_steps_once: bool
    has_one_writer: bool
    stream_maintains: bool
    has_broker: bool
    has_registry_file: bool


LOCAL = Platform(
    tables_are_files=True,
    starts_spark=True,
    plans_steps_once=True,
    has_one_writer=True,
    stream_maintains=True,
    has_broker=True,
    has_registry_file=True,
)
DATABRICKS = Platform(
    tables_are_files=False,
    starts_spark=False,
    plans_steps_once=False,
    has_one_writer=False,
    stream_maintains=False,
    has_broker=False,
    has_registry_file=False,
)
