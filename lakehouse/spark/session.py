"""The Spark session: a local one with Delta, Kafka and Spark NLP from the project's jars, or the cluster's."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Imported before any thread is started. Python asks setuptools for distutils, which pyspark imports, while it holds its
# import lock; a thread that starts Java at that moment holds the lock of logging, and each waits forever for the other.
import setuptools  # noqa: F401
from py4j.java_gateway import JavaClass, JavaMember
from pyspark.accumulators import AccumulatorServer
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.setup.jar_sets import OPTIONAL
from lakehouse.setup.jars import ensure_optional_jars, spark_jars
from lakehouse.setup.java import find_java
from lakehouse.setup.shared_classes import spark_options
from lakehouse.spark.internals import is_tested
from lakehouse.spark.priority import COMPILER, lower_priority

LOG = logging.getLogger(__name__)

# Parquet buffers a row group while it writes or reads it, and checks its size only after a hundred rows: large rows
# exceed the heap by then. Checked row by row, a group ends at 4 MB, the size at which scans are split locally.
PARQUET_CONF = {
    "parquet.block.size": str(4 * 1024 * 1024),
    "parquet.page.size.row.check.min": "1",
    "parquet.page.size.row.check.max": "4",
}

# Locally Delta's commits, Spark's batches and the JVM's compilers share two cores. Each line was measured or gives its
# reason.
LOCAL_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "in-memory",  # tables are accessed by path, so no metastore is needed
    "spark.sql.adaptive.enabled": "false",  # replanning costs more than it saves on batches of a few hundred rows
    "spark.scheduler.mode": "FAIR",
    "spark.sql.codegen.cache.maxEntries": "2000",  # the default, 100, is less than the number of stages
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # After two minutes without a heartbeat, as when a laptop sleeps, Spark takes its only executor for lost, refuses
    # its heartbeats from then on, and ten minutes later ends the process.
    "spark.storage.blockManagerHeartbeatTimeoutMs": "365d",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.merge.materializeSource": "none",  # the source is in memory already
    # A log checkpoint delays its batch by a second or two: a running stream writes checkpoints outside its batches.
    "spark.databricks.delta.properties.defaults.checkpointInterval": "1000",
    "spark.sql.ui.explainMode": "simple",
    # Plans are formatted as text for every batch: 7 % of a profile. The names of the nodes are enough.
    "spark.sql.maxPlanStringLength": "100",
    "spark.sql.debug.maxToStringFields": "0",
    "spark.sql.streaming.pollingDelay": "100",  # each poll lists a table's log, which is slow for a long log
    "spark.sql.streaming.numRecentProgressUpdates": "16",  # all are sent as JSON when batches were missed
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.sql.streaming.stopTimeout": "60s",
    # Hadoop's local file system starts a process for each file that it creates; this one doesn't. Delta's default log
    # store would bypass it; this one relies on the writer lock.
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    "spark.hadoop.fs.permissions.umask-mode": "077",  # Hadoop ignores the process's umask
    "spark.delta.logStore.file.impl": "io.delta.storage.LocalLogStore",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",  # fewer files to list for each batch
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming."
    "FileSystemBasedCheckpointFileManager",
    "spark.jsl.settings.onnx.intraOpNumThreads": "1",
    # A batch of a few hundred rows is one task, not two: most of its cost is per task. Large batches are still split,
    # at 4 MB.
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.files.openCostInBytes": "65536",
    "spark.sql.files.maxPartitionBytes": "4m",
    "spark.sql.parquet.pushdown.inFilterThreshold": "1000",  # a few complaints are found without reading all pages
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # tasks of a VACUUM, 10,000 by default
    # The default, INT96, has no statistics, and DuckDB reads it ten times slower.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",  # values per column in a buffer of each batch
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.kryoserializer.buffer.max": "512m",
    **{f"spark.hadoop.{key}": value for key, value in PARQUET_CONF.items()},
}

# Heap and metaspace start at full size: each time they grow, a full collection takes 0.3 s.
_JVM = "-XX:+UseParallelGC -XX:ReservedCodeCacheSize=512m -XX:MetaspaceSize=384m -Xms{memory}"
# Ten times Java's defaults: its optimizing compiler takes a quarter of the processor while a stream starts, most of it
# for code that soon runs no more. With the defaults a first decision came after 57 s, with 4 to 20 times them 44 to 52.
_COMPILER = {"Invocation": 50_000, "MinInvocation": 6_000, "Compile": 150_000, "BackEdge": 400_000}
# JVM classes that PySpark looks up for each column and each batch.
_CACHED_CLASSES = ("functions", "PythonUtils", "SparkSession$")

# What the steps need on every platform: UTC, null for an invalid cast, and fast planning.
EVERYWHERE_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",  # else rows are converted one by one, in Python workers
    "spark.sql.ansi.enabled": "false",
    # The optimizer propagates constraints on each column through every step: with the rules' long expressions that
    # takes minutes per plan, to find filters that the steps already have.
    "spark.sql.constraintPropagation.enabled": "false",
    # Rows of one complaint that a window buffers as objects before it can spill: the default, 4,096 rows, has no
    # limit in bytes.
    "spark.sql.windowExec.buffer.in.memory.threshold": "64",
    # The plan of a stream that hasn't started shows the options of its source as they are, with Kafka's login.
    "spark.sql.redaction.string.regex": r'LoginModule required(?:\s+[\w.]+="(?:[^"\\]|\\.)*")+;',
}


def kafka_security_package(settings: Settings) -> str:
    """The package of the Kafka connector's security classes; the Databricks runtime has the connector shaded."""
    shaded = "" if settings.platform.starts_spark else "kafkashaded."
    return f"{shaded}org.apache.kafka.common.security"


def start_session(settings: Settings) -> SparkSession:
    """Start or get the session that every command uses.

    On Databricks (`lake.catalog` is set) this is the cluster's session with that catalog, otherwise a local session.

    Raises:
        ComplaintsError: there is no Java 17, jars are missing, or the jars of an enabled feature can't be fetched; the
            message says what to do.
    """
    if not settings.platform.starts_spark:
        spark = SparkSession.builder.getOrCreate()
        spark.catalog.setCurrentCatalog(str(settings.lake.catalog))
        for key, value in (EVERYWHERE_CONF | PARQUET_CONF).items():
            spark.conf.set(key, value)
        return spark
    AccumulatorServer.handle_error = _log_error  # type: ignore[assignment,method-assign]
    return _local_session(settings)


def start_ahead(settings: Settings) -> None:
    """Start a local session in a thread while Python imports the rest; `start_session` then waits for it."""

    def start() -> None:
        with suppress(Exception):  # `start_session` raises the same error
            start_session(settings)

    if settings.platform.starts_spark:
        threading.Thread(target=start, name="spark", daemon=True).start()


def _local_session(settings: Settings) -> SparkSession:
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["JAVA_HOME"] = str(find_java().home)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow would log each of its steps
    os.environ["PYSPARK_PYTHON"] = sys.executable  # or Spark would use the `python3` on PATH
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    log4j = logs / "log4j2.properties"
    ensure_optional_jars([each.name for each in OPTIONAL if getattr(settings.ml, each.name).enabled])
    jars = spark_jars()
    log4j.write_text(_log4j(settings, logs / "spark.log"), encoding="utf-8")
    conf = {
        **LOCAL_CONF,
        **EVERYWHERE_CONF,
        "spark.master": f"local[{settings.spark.cores}]",
        "spark.app.name": "complaints",
        "spark.driver.memory": settings.spark.memory,
        "spark.sql.shuffle.partitions": str(settings.spark.cores),
        "spark.default.parallelism": str(settings.spark.cores),
        "spark.local.dir": str(folder / "scratch"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.extraClassPath": os.pathsep.join(str(jar) for jar in jars),
        "spark.driver.extraJavaOptions": _java_options(settings, logs, log4j, jars),
    }
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    with _keeping_ctrl_c():
        spark = builder.getOrCreate()
    logging.getLogger("py4j").setLevel(logging.ERROR)
    _redirect_output(spark, logs / "java.log")
    _disable_checksum_files(spark)
    _drop_default_options(spark)
    lower_priority(spark, COMPILER)  # on two cores it would slow batches down for minutes
    _cache_classes(spark)
    return spark


def _java_options(settings: Settings, logs: Path, log4j: Path, jars: Sequence[Path]) -> str:
    return " ".join(
        (
            f"-Dlog4j2.configurationFile={log4j.as_uri()} -Dderby.system.home={settings.folder}",
            f"-Djava.io.tmpdir={_scratch(settings)} -XX:ErrorFile={logs / 'java-crash-%p.log'}",
            _JVM.format(memory=settings.spark.memory),
            *(f"-XX:Tier4{name}Threshold={value}" for name, value in _COMPILER.items()),
            spark_options(jars),
        )
    )


@contextmanager
def _keeping_ctrl_c() -> Iterator[None]:
    """Keep the caller's handler of Ctrl-C: pyspark would replace it by one that cancels all jobs and raises."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)


def _log_error(*_: object) -> None:
    """Log an error of PySpark's server of accumulators, as when Java was killed; it would print its traceback."""
    LOG.info("the server of accumulators failed", exc_info=sys.exception())


def _redirect_output(spark: SparkSession, path: Path) -> None:
    """Redirect what the JVM's libraries print (Spark NLP's models do) to a file: the terminal is the command's."""
    java, scala = spark._jvm.java, spark._jvm.scala  # type: ignore[union-attr]
    file = java.io.PrintStream(java.io.FileOutputStream(str(path), True), True)  # noqa: FBT003 - append, flush
    java.lang.System.setOut(file)
    java.lang.System.setErr(file)
    console = getattr(getattr(scala, "Console$"), "MODULE$")
    console.setOutDirect(file)
    console.setErrDirect(file)


def _disable_checksum_files(spark: SparkSession) -> None:
    """Turn off Hadoop's hidden checksum file next to each file: a log is listed for each batch, file by file."""
    gateway = spark._jvm.org.apache.hadoop.fs.FileSystem  # type: ignore[union-attr]
    files = gateway.getLocal(spark._jsc.hadoopConfiguration())
    files.setWriteChecksum(False)
    files.setVerifyChecksum(False)


def _drop_default_options(spark: SparkSession) -> None:
    """Drop Hadoop's default options from those that Spark sends with each task: the code has the same defaults.

    Each of nearly 1,000 is copied for each plan, and serialized for each scan and each write: 7 % of a profile.
    """
    if not is_tested(spark):
        return
    jvm: Any = spark._jvm
    options = spark._jsc.hadoopConfiguration()
    loads_defaults = options.getClass().getDeclaredField("loadDefaults")
    loads_defaults.setAccessible(True)
    loads_defaults.setBoolean(options, False)  # noqa: FBT003 - or they come back when a class adds to them
    options.clear()
    jvm.org.apache.spark.deploy.SparkHadoopUtil.get().appendSparkHadoopConfigs(spark._jsc.sc().conf(), options)


class _CachedClass(JavaClass):  # type: ignore[misc]
    """A JVM class whose methods are looked up once."""

    def __getattr__(self, name: str) -> object:
        member = super().__getattr__(name)
        if isinstance(member, JavaMember):
            self.__dict__[name] = member
        return member


def _cache_classes(spark: SparkSession) -> None:
    """Save each batch a few hundred lookups in the JVM, each of which searches every jar for a class.

    PySpark looks up `functions` and `functions.col` for each column that it names.
    """
    if not is_tested(spark):
        warning = "Spark %s and delta-spark %s were not tested together: each batch is planned again, which is slower."
        LOG.warning(warning, spark.version, version("delta-spark"))
        return
    jvm = spark._jvm
    for name in _CACHED_CLASSES:
        found = getattr(jvm, name)
        setattr(jvm, name, _CachedClass(found._fqn, found._gateway_client))


def _log4j(settings: Settings, file: Path) -> str:
    # Below info Spark and Kafka's client log options and requests, which have passwords in them.
    level = {"warning": "warn", "debug": "info"}.get(settings.monitoring.log_level, settings.monitoring.log_level)
    return _LOG4J.format(file=file.as_posix(), level=level)


def _scratch(settings: Settings) -> str:
    scratch = settings.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return str(scratch)


# Spark's own log goes to a file: the terminal belongs to the command.
_LOG4J = """\
rootLogger.level = {level}
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {file}
appender.file.filePattern = {file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""
