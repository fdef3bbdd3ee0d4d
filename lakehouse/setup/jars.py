"""The jars of Spark's connectors, the broker and its tools: fetched once, checked against ``jars.lock``.

Ivy, which comes with pyspark, downloads each set into its own folder of ``.jars``; after that no network is needed. The
jars of an optional feature are fetched in the same way when they are first used.
``python -m lakehouse.setup.jars`` fetches missing jars, checks them, and creates Java's class data archives; with
``--lock`` it writes a new ``jars.lock``.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from filelock import FileLock

from lakehouse.errors import ComplaintsError
from lakehouse.setup.ivy import CACHE, IVY_LOG, retrieved
from lakehouse.setup.jar_sets import BROKER, OPTIONAL, SETS, SPARK, TOOLS, JarSet
from lakehouse.setup.shared_classes import share_java_classes, share_spark_classes

PROJECT = Path(__file__).resolve().parents[2]
LOCK = PROJECT / "jars.lock"


def jars_folder() -> Path:
    """Return the folder of the jars: ``COMPLAINTS_JARS``, or ``.jars`` in the project."""
    return Path(os.environ.get("COMPLAINTS_JARS") or PROJECT / ".jars").absolute()


def spark_jars() -> list[Path]:
    """Return the jars for the class path of Spark's driver, including those of fetched optional features.

    Raises:
        ComplaintsError: the jars have not been fetched.
    """
    return [jar for jar_set in (SPARK, *_fetched_optional()) for jar in _present(jar_set)]


def optional_jar(jar_set: JarSet, name: str) -> Path:
    """Return one jar of an optional feature, by its Maven name.

    Raises:
        ComplaintsError: the jar has not been fetched.
    """
    (file,) = next(jar.files for jar in jar_set.jars if jar.name == name)
    return next(path for path in _present(jar_set) if path.name == file)


def broker_classpath() -> str:
    """Return the class path of the broker, ready for ``java -cp``.

    Raises:
        ComplaintsError: the broker's jars have not been fetched.
    """
    return os.pathsep.join(str(jar) for jar in _present(BROKER))


def kafka_tools_classpath() -> str:
    """Return the class path of Kafka's command-line tools.

    Raises:
        ComplaintsError: their jars have not been fetched.
    """
    return os.pathsep.join(str(jar) for jar in (*_present(TOOLS), *_present(BROKER)))


def _present(jar_set: JarSet) -> list[Path]:
    folder = jars_folder() / jar_set.name
    jars = sorted(folder.glob("*.jar"))
    if not jars:
        msg = f"{folder} has no jars: run `{_command((jar_set,))}`."
        raise ComplaintsError(msg)
    return jars


def _fetched_optional() -> tuple[JarSet, ...]:
    return tuple(jar_set for jar_set in OPTIONAL if (jars_folder() / jar_set.name).is_dir())


def _command(sets: Sequence[JarSet]) -> str:
    """The command that fetches these jar sets."""
    return f"complaints setup --with {sets[0].name}" if sets[0] in OPTIONAL else "make setup"


def ensure_jars(sets: Sequence[JarSet] = SETS) -> None:
    """Fetch the jars unless they are present and unchanged, and check each against ``jars.lock``.

    Args:
        sets: the sets that every run needs, or the set of an optional feature.

    Raises:
        ComplaintsError: the jars can't be fetched, or don't match ``jars.lock``.
    """
    folder = jars_folder()
    if _stamp_holds(folder, sets):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if _stamp_holds(folder, sets):  # another process was faster
            return
        locked = _read_lock(sets)
        if _differences(folder, locked, sets):
            fetched = folder / ".fetched"
            if sets[0] in OPTIONAL:
                print(f"fetching the jars of {sets[0].name} (only once)", file=sys.stderr, flush=True)
            _fetch(folder, fetched, sets, expected=len(locked))
            if wrong := _differences(fetched, locked, sets):
                msg = (
                    f"{wrong[0]}: the fetched jars do not match {LOCK.name}, so none is used; "
                    f"run `{_command(sets)}` again; if this happens again, do not trust the network."
                )
                raise ComplaintsError(msg)
            _install(fetched, folder, sets)
        _stamp_file(folder, sets).write_text(_stamp(folder, sets), encoding="utf-8")


def ensure_optional_jars(features: Collection[str]) -> None:
    """Fetch missing jars of optional model features, given by their names in the settings.

    Raises:
        ComplaintsError: see `ensure_jars`.
    """
    for jar_set in OPTIONAL:
        if jar_set.name in features:
            ensure_jars((jar_set,))


def check_jars() -> int:
    """Compare all jars with ``jars.lock`` without fetching any; return their number.

    Raises:
        ComplaintsError: a jar is missing, extra or different.
    """
    sets = (*SETS, *_fetched_optional())
    locked = _read_lock(sets)
    if wrong := _differences(jars_folder(), locked, sets):
        affected = tuple(jar_set for jar_set in sets if wrong[0].startswith(f"{jar_set.name}/"))
        msg = f"{wrong[0]} (in {jars_folder()}): run `{_command(affected)}`."
        raise ComplaintsError(msg)
    return len(locked)


def write_lock() -> None:
    """Fetch all jars again and write their SHA-256 into ``jars.lock``, after a version has changed."""
    folder = jars_folder()
    sets = (*SETS, *OPTIONAL)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        fetched = folder / ".fetched"
        _fetch(folder, fetched, sets, expected=0)
        lines = [f"{_sha256(jar)}  {jar.relative_to(fetched).as_posix()}\n" for jar in _files(fetched, sets)]
        LOCK.write_text("".join(sorted(lines, key=lambda line: line.split()[1])), encoding="utf-8")
        _install(fetched, folder, sets)
    ensure_jars()


def _read_lock(sets: Sequence[JarSet]) -> dict[str, str]:
    if not LOCK.is_file():
        msg = f"{LOCK} is missing: restore it from version control."
        raise ComplaintsError(msg)
    pairs = (line.split(maxsplit=1) for line in LOCK.read_text(encoding="utf-8").splitlines() if line)
    folders = {jar_set.name for jar_set in sets}
    return {name: digest for digest, name in pairs if name.split("/")[0] in folders}


def _files(folder: Path, sets: Sequence[JarSet]) -> list[Path]:
    return sorted(path for jar_set in sets for path in (folder / jar_set.name).glob("*"))


def _differences(folder: Path, locked: dict[str, str], sets: Sequence[JarSet]) -> list[str]:
    """Return the problems with the jars in ``folder``: missing, not in the lock file, or different."""
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder, sets)}
    missing = [f"{name} is missing" for name in sorted(locked.keys() - found.keys())]
    extra = [f"{name} is not in {LOCK.name}" for name in sorted(found.keys() - locked.keys())]
    both = sorted(found.keys() & locked.keys())
    return missing + extra + [f"{name} has another SHA-256" for name in both if _sha256(found[name]) != locked[name]]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(folder: Path, sets: Sequence[JarSet]) -> str:
    """Return the jars' sizes and times with the lock file's digest, which change when any file is touched."""
    files = [(str(path.relative_to(folder)), path.stat()) for path in _files(folder, sets)]
    seen = {name: [status.st_size, status.st_mtime_ns] for name, status in files}
    return json.dumps({"lock": _sha256(LOCK), "files": seen})


def _stamp_file(folder: Path, sets: Sequence[JarSet]) -> Path:
    return folder / (f".stamp-{sets[0].name}" if sets[0] in OPTIONAL else ".stamp")


def _stamp_holds(folder: Path, sets: Sequence[JarSet]) -> bool:
    stamp = _stamp_file(folder, sets)
    return LOCK.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(folder, sets)


def _install(fetched: Path, folder: Path, sets: Sequence[JarSet]) -> None:
    """Replace the old folders with the fetched ones, and delete Ivy's cache, which is no longer needed."""
    for jar_set in sets:
        shutil.rmtree(folder / jar_set.name, ignore_errors=True)
        (fetched / jar_set.name).rename(folder / jar_set.name)
    for leftover in (fetched, folder / CACHE):
        shutil.rmtree(leftover, ignore_errors=True)


def _fetch(folder: Path, target: Path, sets: Sequence[JarSet], *, expected: int) -> None:
    if not retrieved(folder, target, sets, expected):
        msg = (
            f"The jars could not be fetched from Maven Central: check the network and run `{_command(sets)}` again "
            f"(Ivy's log is {folder / IVY_LOG})."
        )
        raise ComplaintsError(msg)


def main() -> int:
    """Run ``python -m lakehouse.setup.jars [--lock] [--debug]``; return the exit code."""
    try:
        if "--lock" in sys.argv[1:]:
            write_lock()
        else:
            ensure_jars()
            share_java_classes()
            share_spark_classes(spark_jars())
    except ComplaintsError as error:
        if "--debug" in sys.argv[1:]:
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
