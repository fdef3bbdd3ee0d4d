"""Checks that say what this machine has and what it lacks, each in one line; independent ones run side by side."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import ComplaintsError
from lakehouse.install import PYTHON
from lakehouse.jars import check_jars, jars_folder
from lakehouse.java import find_java
from lakehouse.settings import Settings

NEEDED_BYTES = 2 * 1024**3  # a day of complaints at full rate, with room for Spark to sort


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        what: its name.
        run: does it and gives what was found; raises ComplaintsError with what is wrong and the remedy.
        needs: names of checks without which this one can't succeed.
    """

    what: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check found: the detail, or the sentence that says what is wrong; how long it took.

    `error` is what was raised, when something was.
    """

    what: str
    is_ok: bool
    detail: str
    seconds: float
    error: Exception | None = None


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """The findings as they come; each check begins when those that it needs have ended well."""
    waiting = list(checks)
    found: dict[str, Finding] = {}
    running: set[Future[Finding]] = set()
    with ThreadPoolExecutor(max(1, len(waiting))) as pool:
        while waiting or running:
            for check in [check for check in waiting if found.keys() >= set(check.needs)]:
                waiting.remove(check)
                running.add(pool.submit(_checked, check, [found[name] for name in check.needs]))
            done = next(as_completed(running))
            running.remove(done)
            finding = done.result()
            found[finding.what] = finding
            yield finding


def _checked(check: Check, needed: Iterable[Finding]) -> Finding:
    lacking = [finding.what for finding in needed if not finding.is_ok]
    if lacking:
        return Finding(check.what, is_ok=False, detail=f"not checked: see {', '.join(lacking)}", seconds=0.0)
    began = time.monotonic()
    error: Exception | None = None
    try:
        detail = check.run()
    except ComplaintsError as found:
        detail, error = str(found), found
    except Exception as found:  # noqa: BLE001 - whatever one check meets, the others still tell what they found
        first = (str(found).strip().splitlines() or [""])[0]
        detail = f"It failed unforeseen ({type(found).__name__}: {first}): see `complaints --debug setup`."
        error = found
    return Finding(check.what, error is None, detail, round(time.monotonic() - began, 1), error)


def machine_checks(settings: Settings) -> tuple[Check, ...]:
    """What every command stands on: Python, Java, jars, the lake's folder, and Spark with Delta."""
    return (
        Check("python", python),
        Check("java", java),
        Check("jars", jars),
        Check("folder", lambda: folder(settings.folder)),
        Check("spark", lambda: spark(settings), needs=("java", "jars", "folder")),
    )


def python() -> str:
    """The Python that runs."""
    version = sys.version.split()[0]
    if sys.version_info[:2] != PYTHON:
        msg = f"Python 3.11 is needed and this is {version}: run `make setup PYTHON=/path/to/python3.11`."
        raise ComplaintsError(msg)
    return f"{version} ({sys.executable})"


def java() -> str:
    """The Java that Spark and the broker run on."""
    found = find_java()
    return f"{found.version} from {found.source} ({found.home})"


def jars() -> str:
    """The jars, each compared with jars.lock."""
    return f"{check_jars()} as locked ({jars_folder()})"


def folder(root: Path) -> str:
    """The folder of the lake: it can be made and written to, and there is room.

    Raises:
        ComplaintsError: it can't, or there isn't.
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
    """Spark: locally a Delta table is written and read back; on Databricks its catalog is looked at.

    Raises:
        ComplaintsError: the rows that were read are not those that were written.
    """
    from lakehouse.session import start_session  # noqa: PLC0415 - takes a second, side by side with the other checks

    session = start_session(settings)
    if settings.lake.catalog:
        return f"Spark {session.version}, catalog {session.catalog.currentCatalog()}"
    with tempfile.TemporaryDirectory(prefix="check-", dir=settings.folder) as temporary:
        table = f"{temporary}/table"
        session.range(3).write.format("delta").save(table)
        rows = session.read.format("delta").load(table).count()
    if rows != 3:  # noqa: PLR2004 - as many as were written
        msg = f"Spark wrote 3 rows into a Delta table in {settings.folder} and read {rows}: check its disk."
        raise ComplaintsError(msg)
    return f"Spark {session.version}, a Delta table written and read"
