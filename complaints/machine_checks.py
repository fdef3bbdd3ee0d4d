"""The checks of `complaints setup` on what every command needs: Python, Java, jars, folder, Spark with Delta."""

import shutil
import sys
import tempfile
from pathlib import Path

from lakehouse.checks import Check
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.setup.install import PYTHON
from lakehouse.setup.jars import check_jars, jars_folder
from lakehouse.setup.java import find_java
from lakehouse.spark.session import start_session  # here, and not in the thread of its check: see there

NEEDED_BYTES = 2 * 1024**3  # a day of complaints at full rate, with room for Spark to sort


def machine_checks(settings: Settings) -> tuple[Check, ...]:
    """Return the checks on what every command needs: Python, Java, jars, the lake's folder, and Spark with Delta."""
    return (
        Check("python", python),
        Check("java", java),
        Check("jars", jars),
        Check("folder", lambda: folder(settings.folder)),
        Check("spark", lambda: spark(settings), needs=("java", "jars", "folder")),
    )


def python() -> str:
    """Check the running Python's version.

    Raises:
        ComplaintsError: another version is needed.
    """
    version = sys.version.split()[0]
    if sys.version_info[:2] != PYTHON:
        msg = f"Python 3.11 is needed and this is {version}: run `make setup PYTHON=/path/to/python3.11`."
        raise ComplaintsError(msg)
    return f"{version} ({sys.executable})"


def java() -> str:
    """Find the Java that Spark and the broker run on."""
    found = find_java()
    return f"{found.version} from {found.source} ({found.home})"


def jars() -> str:
    """Compare each jar with jars.lock."""
    return f"{check_jars()} as locked ({jars_folder()})"


def folder(root: Path) -> str:
    """Check that the lake's folder can be created and written to, and has enough free space.

    Raises:
        ComplaintsError: it can't be written to, or has too little free space.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"complaints")
    except OSError as error:
        msg = f"{root} can't be written to ({error.strerror}): choose another folder with COMPLAINTS_ROOT or --root."
        raise ComplaintsError(msg) from error
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES:
        msg = f"{root} has {_gigabytes(free)} free and 2 GB are needed: make room, or set COMPLAINTS_ROOT elsewhere."
        raise ComplaintsError(msg)
    return f"{root} can be written to, {_gigabytes(free)} free"


def _gigabytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GB"


def spark(settings: Settings) -> str:
    """Check Spark: locally by writing and reading a Delta table, on Databricks by reading the current catalog's name.

    Raises:
        ComplaintsError: the rows read are not the rows written.
    """
    session = start_session(settings)
    if not settings.platform.tables_are_files:
        return f"Spark {session.version}, catalog {session.catalog.currentCatalog()}"
    with tempfile.TemporaryDirectory(prefix="check-", dir=settings.folder) as temporary:
        table = f"{temporary}/table"
        session.range(3).write.format("delta").save(table)
        rows = session.read.format("delta").load(table).count()
    if rows != 3:  # noqa: PLR2004 - the number written above
        msg = f"Spark wrote 3 rows into a Delta table in {settings.folder} and read {rows}: check its disk."
        raise ComplaintsError(msg)
    return f"Spark {session.version}, a Delta table written and read"
