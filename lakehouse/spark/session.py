"""The Spark session: local with Delta, Kafka and Spark NLP from the project's own jars, or the cluster's own."""

import logging
import os
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from py4j.java_gateway import JavaClass, JavaMember
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.setup.jar_sets import OPTIONAL
from lakehouse.setup.jars import ensure_optional_jars, spark_jars
from lakehouse.setup.java import find_java
from lakehouse.setup.shared_classes import spark_options
from lakehouse.spark.internals import is_tested

LOG = logging.getLogger(__name__)

# Parquet holds a row group while it writes or reads it, and looks at its size only after a hundred rows: of large ones
# that is more than the heap. Looked at row by row, a group ends at 4 MB, the size at which scans are split locally.
PARQUET_CONF = {
    "parquet.block.size": str(4 * 1024 * 1024),
    "parquet.page.size.row.check.min": "1",
    "parquet.page.size.row.check.max": "4",
}

# Locally Delta's commits, Spark's batches and the JVM's compilers share two cores. Each line was measured or has its
# reason beside it.
LOCAL_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "in-memory",  # tables are found by path: no metastore to lock
    "spark.sql.adaptive.enabled": "false",  # replanning costs more than it gains on batches of a few hundred rows
    "spark.scheduler.mode": "FAIR",
    "spark.sql.codegen.cache.maxEntries": "2000",  # the default, 100, is fewer than the queries' stages
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.merge.materializeSource": "none",  # what is merged is held in memory already
    # A checkpoint of a log holds its batch up for a second or two: a running stream writes them beside its batches.
    "spark.databricks.delta.properties.defaults.checkpointInterval": "1000",
    "spark.sql.ui.explainMode": "simple",
    # Plans are turned into text for every batch, read or not: 7 % of a profile. Names of nodes do.
    "spark.sql.maxPlanStringLength": "100",
    "spark.sql.debug.maxToStringFields": "0",
    "spark.sql.streaming.pollingDelay": "100",  # each look lists a table's log, which costs on a long one
    "spark.sql.streaming.numRecentProgressUpdates": "16",  # all are handed over as JSON when batches were missed
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.sql.streaming.stopTimeout": "60s",
    # Hadoop's local file system starts a process for each file that it makes; this one doesn't. Delta's usual log store
    # would go around it; this one relies on the lock that each writer holds.
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    "spark.hadoop.fs.permissions.umask-mode": "077",  # Hadoop's own, which would open to all what the process's closes
    "spark.delta.logStore.file.impl": "io.delta.storage.LocalLogStore",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",  # the log is listed for each batch, file by file
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming."
    "FileSystemBasedCheckpointFileManager",
    "spark.jsl.settings.onnx.intraOpNumThreads": "1",
    # A batch of some hundred rows is one task, not two: what a task costs beside its rows is most of it. Large batches
    # are still cut, at 4 MB.
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.files.openCostInBytes": "65536",
    "spark.sql.files.maxPartitionBytes": "4m",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # a VACUUM's tasks, 10,000 by default
    # The default, INT96, has no statistics, and DuckDB takes ten times as long to read it.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",  # a buffer of so many values a column is made for each batch
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.kryoserializer.buffer.max": "512m",
    **{f"spark.hadoop.{key}": value for key, value in PARQUET_CONF.items()},
}

# Heap and classes have their room from the start: while they grow, all is collected again and again, 0.3 s each time.
_JVM = "-XX:+UseParallelGC -XX:ReservedCodeCacheSize=512m -XX:MetaspaceSize=384m -Xms{memory}"
_COMPILER_NICENESS = 10
# Classes of the JVM that PySpark looks up for each column and each batch.
_ASKED_FOR_OFTEN = ("functions", "PythonUtils", "SparkSession$")

# What the steps need, wherever they run: dates in UTC, a cast that can't be made gives null, and plans made at once.
EVERYWHERE_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    # The optimiser follows what each column equals through every step: with the rules' long expressions that takes
    # minutes for one plan, to find filters that the steps have anyway.
    "spark.sql.constraintPropagation.enabled": "false",
    # Rows of one complaint that a window holds as objects before it may spill them: the default, 4,096, has no bound in
    # bytes.
    "spark.sql.windowExec.buffer.in.memory.threshold": "64",
}


def kafka_login_module(settings: Settings) -> str:
    """The class by which Spark's Kafka connector signs in; the runtime of Databricks has it under a name of its own."""
    shaded = "kafkashaded." if settings.lake.catalog else ""
    return f"{shaded}org.apache.kafka.common.security.plain.PlainLoginModule"


def start_session(settings: Settings) -> SparkSession:
    """The session that every command uses.

    On Databricks (`lake.catalog` is set) it is the cluster's own, using that catalog; otherwise a local one.

    Raises:
        ComplaintsError: no Java 17, the jars are missing, or those of a feature that was switched on can't be fetched;
            says what to do.
    """
    if settings.lake.catalog:
        spark = SparkSession.builder.getOrCreate()
        spark.catalog.setCurrentCatalog(settings.lake.catalog)
        for key, value in (EVERYWHERE_CONF | PARQUET_CONF).items():
            spark.conf.set(key, value)
        return spark
    return _local_session(settings)


def start_ahead(settings: Settings) -> None:
    """Begin to start a local session in a thread, while Python imports the rest; `start_session` then waits for it."""

    def start() -> None:
        with suppress(Exception):  # told by `start_session`, which finds the same
            start_session(settings)

    if settings.is_local:
        threading.Thread(target=start, name="spark", daemon=True).start()


def _local_session(settings: Settings) -> SparkSession:
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["JAVA_HOME"] = str(find_java().home)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow would tell each of its steps
    os.environ["PYSPARK_PYTHON"] = sys.executable  # or Spark would take whatever `python3` on PATH is
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    log4j = logs / "log4j2.properties"
    ensure_optional_jars([each.name for each in OPTIONAL if getattr(settings.ml, each.name).enabled])
    jars = spark_jars()
    log4j.write_text(_LOG4J.format(file=(logs / "spark.log").as_posix()), encoding="utf-8")
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
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log4j.as_uri()} -Dderby.system.home={folder} "
        f"-Djava.io.tmpdir={_scratch(settings)} {_JVM.format(memory=settings.spark.memory)} {spark_options(jars)}",
    }
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    logging.getLogger("py4j").setLevel(logging.ERROR)
    _turn_away_from_output(spark)
    _leave_out_checksums(spark)
    _step_back_compiler(spark)
    _remember_classes(spark)
    return spark


def _turn_away_from_output(spark: SparkSession) -> None:
    """Have what the JVM prints go to standard error, as Spark NLP's models do: standard output holds results alone."""
    jvm = spark._jvm
    error = jvm.java.lang.System.err  # type: ignore[union-attr]
    jvm.java.lang.System.setOut(error)  # type: ignore[union-attr]
    getattr(getattr(jvm.scala, "Console$"), "MODULE$").setOutDirect(error)  # type: ignore[union-attr]


def _leave_out_checksums(spark: SparkSession) -> None:
    """Write one file, not two: a log is listed for each batch, file by file, and Hadoop adds a hidden one to each."""
    gateway = spark._jvm.org.apache.hadoop.fs.FileSystem  # type: ignore[union-attr]
    files = gateway.getLocal(spark._jsc.hadoopConfiguration())
    files.setWriteChecksum(False)
    files.setVerifyChecksum(False)


class _RememberedClass(JavaClass):  # type: ignore[misc]
    """A class of the JVM each of whose methods is asked for once."""

    def __getattr__(self, name: str) -> object:
        member = super().__getattr__(name)
        if isinstance(member, JavaMember):
            self.__dict__[name] = member
        return member


def _remember_classes(spark: SparkSession) -> None:
    """Spare a batch some hundred questions to the JVM, each of which looks through every jar for a class.

    PySpark asks what `functions` is, and what `functions.col` is, for each column that it names.
    """
    if not is_tested(spark):
        said = "Spark %s and delta-spark %s were not tested together: each batch is planned anew, which is slower."
        LOG.warning(said, spark.version, version("delta-spark"))
        return
    jvm = spark._jvm
    for name in _ASKED_FOR_OFTEN:
        found = getattr(jvm, name)
        setattr(jvm, name, _RememberedClass(found._fqn, found._gateway_client))


def _step_back_compiler(spark: SparkSession) -> None:
    """Let the JVM's optimising compiler take what the batches leave: on two cores it would hold them up for minutes."""
    java = spark._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]
    for thread in Path(f"/proc/{java}/task").glob("*"):  # Linux alone tells, and lets a thread have its own priority
        with suppress(OSError):  # a thread that has ended meanwhile
            if (thread / "comm").read_text().startswith("C2 "):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _COMPILER_NICENESS)


def _scratch(settings: Settings) -> str:
    scratch = settings.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return str(scratch)


# Spark's own log goes to a file: the terminal belongs to the command.
_LOG4J = """\
rootLogger.level = warn
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
