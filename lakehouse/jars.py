"""The Java archives of Spark's connectors, the broker and its tools: resolved once, checked against ``jars.lock``.

Ivy, which comes with pyspark, fetches them into a folder of ``.jars`` each; then no network is needed.
``python -m lakehouse.jars`` fetches what is missing and checks it; with ``--lock`` it writes ``jars.lock`` anew.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import quoteattr

from filelock import FileLock

from lakehouse.errors import ComplaintsError
from lakehouse.jar_sets import BROKER, SETS, SPARK, TOOLS, JarSet
from lakehouse.java import find_java, java_options

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "jars.lock"


def jars_folder() -> Path:
    """Return the folder of the archives: ``COMPLAINTS_JARS``, or else ``.jars`` in the project."""
    return Path(os.environ.get("COMPLAINTS_JARS") or PROJECT / ".jars").absolute()


def spark_jars() -> list[Path]:
    """Return the archives that Spark's driver needs on its class path.

    Raises:
        ComplaintsError: they have not been fetched.
    """
    return _present(SPARK)


def broker_classpath() -> str:
    """Return the class path of the broker, ready for ``java -cp``.

    Raises:
        ComplaintsError: its archives have not been fetched.
    """
    return os.pathsep.join(str(jar) for jar in _present(BROKER))


def kafka_tools_classpath() -> str:
    """Return the class path of Kafka's own command-line tools.

    Raises:
        ComplaintsError: their archives have not been fetched.
    """
    return os.pathsep.join(str(jar) for jar in (*_present(TOOLS), *_present(BROKER)))


def _present(jar_set: JarSet) -> list[Path]:
    folder = jars_folder() / jar_set.name
    jars = sorted(folder.glob("*.jar"))
    if not jars:
        msg = f"{folder} has no jars: run `make setup`."
        raise ComplaintsError(msg)
    return jars


def ensure_jars() -> None:
    """Fetch the archives unless they are there and unchanged, and check each against ``jars.lock``.

    Raises:
        ComplaintsError: they cannot be fetched, or are not those of ``jars.lock``.
    """
    folder = jars_folder()
    if _stamp_holds(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if _stamp_holds(folder):  # another process was quicker
            return
        locked = _read_lock()
        if _differences(folder, locked):
            fetched = folder / ".fetched"
            _fetch(folder, fetched, expected=len(locked))
            if wrong := _differences(fetched, locked):
                msg = (
                    f"{wrong[0]}: what was fetched is not what {LOCK.name} lists, so none of it is used; "
                    "run `make setup` again, and if this stays, do not trust the network it came through."
                )
                raise ComplaintsError(msg)
            _install(fetched, folder)
        (folder / ".stamp").write_text(_stamp(folder), encoding="utf-8")


def check_jars() -> int:
    """Return how many archives there are, each compared with ``jars.lock``; nothing is fetched.

    Raises:
        ComplaintsError: one is missing, one too many, or another than listed.
    """
    locked = _read_lock()
    if wrong := _differences(jars_folder(), locked):
        msg = f"{wrong[0]} (in {jars_folder()}): run `make setup`."
        raise ComplaintsError(msg)
    return len(locked)


def write_lock() -> None:
    """Fetch all archives anew and write their SHA-256 into ``jars.lock``, for when a version has been changed."""
    folder = jars_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        fetched = folder / ".fetched"
        _fetch(folder, fetched, expected=0)
        lines = [f"{_sha256(jar)}  {jar.relative_to(fetched).as_posix()}\n" for jar in _files(fetched)]
        LOCK.write_text("".join(lines), encoding="utf-8")
        _install(fetched, folder)
        (folder / ".stamp").write_text(_stamp(folder), encoding="utf-8")


def _read_lock() -> dict[str, str]:
    if not LOCK.is_file():
        msg = f"{LOCK} is missing: restore it from version control."
        raise ComplaintsError(msg)
    pairs = (line.split(maxsplit=1) for line in LOCK.read_text(encoding="utf-8").splitlines() if line)
    return {name: digest for digest, name in pairs}


def _files(folder: Path) -> list[Path]:
    return sorted(path for jar_set in SETS for path in (folder / jar_set.name).glob("*"))


def _differences(folder: Path, locked: dict[str, str]) -> list[str]:
    """Return what is wrong with the archives in ``folder``, a clause each: missing, not in the lock, or different."""
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    missing = [f"{name} is missing" for name in sorted(locked.keys() - found.keys())]
    extra = [f"{name} is not in {LOCK.name}" for name in sorted(found.keys() - locked.keys())]
    both = sorted(found.keys() & locked.keys())
    return missing + extra + [f"{name} has another SHA-256" for name in both if _sha256(found[name]) != locked[name]]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(folder: Path) -> str:
    """Return the sizes and times of the archives with the lock's digest: equal as long as nobody touched them."""
    seen = {str(path.relative_to(folder)): [path.stat().st_size, path.stat().st_mtime_ns] for path in _files(folder)}
    return json.dumps({"lock": _sha256(LOCK), "files": seen})


def _stamp_holds(folder: Path) -> bool:
    stamp = folder / ".stamp"
    return LOCK.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(folder)


def _install(fetched: Path, folder: Path) -> None:
    """Put the fetched folders in place of the old ones, and drop Ivy's cache, which is no longer needed."""
    for jar_set in SETS:
        shutil.rmtree(folder / jar_set.name, ignore_errors=True)
        (fetched / jar_set.name).rename(folder / jar_set.name)
    for leftover in (fetched, folder / ".ivy"):
        shutil.rmtree(leftover, ignore_errors=True)


def _fetch(folder: Path, target: Path, *, expected: int) -> None:
    """Have Ivy put all sets into ``target``, showing how many of ``expected`` archives have come."""
    shutil.rmtree(target, ignore_errors=True)
    # Kept until all is well, so that a fetch that broke off goes on where it was.
    ivy = folder / ".ivy"
    ivy.mkdir(exist_ok=True)
    (ivy / "settings.xml").write_text(_SETTINGS, encoding="utf-8")
    (ivy / "ivy.xml").write_text(_ivy_module(SETS), encoding="utf-8")
    output = folder / "ivy.log"
    command: list[str | Path] = [find_java().executable, *java_options(folder)]
    command += ["-cp", _ivy_jar(), "org.apache.ivy.Main"]
    command += ["-settings", ivy / "settings.xml", "-ivy", ivy / "ivy.xml", "-cache", ivy / "cache", "-confs", "*"]
    command += ["-retrieve", f"{target}/[conf]/[artifact]-[revision](-[classifier]).[ext]", "-types", "jar", "bundle"]
    with output.open("w", encoding="utf-8") as log:
        code = _run_showing_progress(command, log, expected)
    if code or not target.is_dir():
        msg = (
            f"The jars could not be fetched from Maven Central: check the network and run `make setup` again "
            f"(Ivy's own words are in {output})."
        )
        raise ComplaintsError(msg)


_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <timeout-constraints>
    <timeout-constraint name="patient" connectionTimeout="20000" readTimeout="60000"/>
  </timeout-constraints>
  <resolvers><ibiblio name="central" m2compatible="true" timeoutConstraint="patient"/></resolvers>
</ivysettings>
"""


def _ivy_module(sets: Iterable[JarSet]) -> str:
    sets = tuple(sets)
    confs = "".join(f"<conf name={quoteattr(jar_set.name)}/>" for jar_set in sets)
    dependencies = "".join(
        f"<dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.name)} rev={quoteattr(jar.version)}"
        f' conf="{jar_set.name}->default" transitive="{str(jar_set.transitive).lower()}"/>\n'
        for jar_set in sets
        for jar in jar_set.jars
    )
    return (
        '<ivy-module version="2.0"><info organisation="complaints" module="jars"/>\n'
        f"<configurations>{confs}</configurations>\n<dependencies>\n{dependencies}</dependencies></ivy-module>\n"
    )


def _ivy_jar() -> Path:
    pyspark = importlib.util.find_spec("pyspark")  # found, not imported: that would take half a second
    folders = pyspark.submodule_search_locations if pyspark else None
    found = sorted(Path(folders[0], "jars").glob("ivy-*.jar")) if folders else []
    if not found:
        msg = "pyspark, which brings Ivy, is not installed: run `make setup`."
        raise ComplaintsError(msg)
    return found[0]


def _run_showing_progress(command: list[str | Path], log: TextIO, expected: int) -> int:
    of = f" of {expected}" if expected else ""
    done = 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as ivy:
        for line in ivy.stdout or ():
            log.write(line)
            if "[SUCCESSFUL ]" in line:
                done += 1
                if done % 10 == 0:
                    print(f"jars: {done}{of}", flush=True)
    return ivy.returncode


def main() -> int:
    """Run ``python -m lakehouse.jars [--lock] [--debug]``; return the exit code."""
    try:
        if "--lock" in sys.argv[1:]:
            write_lock()
        else:
            ensure_jars()
    except ComplaintsError as error:
        if "--debug" in sys.argv[1:]:
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
