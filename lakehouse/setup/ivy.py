"""Fetch jars from Maven Central with Ivy, which comes with pyspark."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import quoteattr

from lakehouse.errors import ComplaintsError
from lakehouse.setup.jar_sets import Jar, JarSet
from lakehouse.setup.java import find_java, java_options, spark_home

CACHE = ".ivy"
IVY_LOG = "ivy.log"


def retrieved(folder: Path, target: Path, sets: Iterable[JarSet], expected: int) -> bool:
    """Have Ivy download the jar sets into ``target``, one folder per set, and report progress.

    Args:
        folder: the folder for Ivy's log and its cache, from which an interrupted download resumes.
        target: the target folder; replaced if it exists.
        sets: the jar sets to fetch.
        expected: how many jars there will be; 0 if unknown.

    Returns:
        Whether all jars were fetched.

    Raises:
        ComplaintsError: Java or pyspark is missing.
    """
    shutil.rmtree(target, ignore_errors=True)
    ivy = folder / CACHE
    ivy.mkdir(exist_ok=True)
    (ivy / "settings.xml").write_text(_SETTINGS, encoding="utf-8")
    (ivy / "ivy.xml").write_text(_module(sets), encoding="utf-8")
    command: list[str | Path] = [find_java().executable, *java_options(folder)]
    command += ["-cp", _jar(), "org.apache.ivy.Main"]
    command += ["-settings", ivy / "settings.xml", "-ivy", ivy / "ivy.xml", "-cache", ivy / "cache", "-confs", "*"]
    command += ["-retrieve", f"{target}/[conf]/[artifact]-[revision](-[classifier]).[ext]", "-types", "jar", "bundle"]
    with (folder / IVY_LOG).open("w", encoding="utf-8") as log:
        code = _run_showing_progress(command, log, expected)
    return code == 0 and target.is_dir()


_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <timeout-constraints>
    <timeout-constraint name="patient" connectionTimeout="20000" readTimeout="60000"/>
  </timeout-constraints>
  <resolvers><ibiblio name="central" m2compatible="true" timeoutConstraint="patient"/></resolvers>
</ivysettings>
"""


def _module(sets: Iterable[JarSet]) -> str:
    sets = tuple(sets)
    confs = "".join(f"<conf name={quoteattr(jar_set.name)}/>" for jar_set in sets)
    dependencies = "".join(_dependency(jar, jar_set) for jar_set in sets for jar in jar_set.jars)
    return (
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven"><info organisation="complaints" '
        'module="jars"/>\n'
        f"<configurations>{confs}</configurations>\n<dependencies>\n{dependencies}</dependencies></ivy-module>\n"
    )


def _dependency(jar: Jar, jar_set: JarSet) -> str:
    artifact = f'<artifact name={quoteattr(jar.name)} type="jar" ext="jar"'
    both = f"{artifact}/>{artifact} m:classifier={quoteattr(jar.native)}/>" if jar.native else ""
    return (
        f"<dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.name)} rev={quoteattr(jar.version)}"
        f' conf="{jar_set.name}->default" transitive="{str(jar_set.transitive).lower()}">{both}</dependency>\n'
    )


def _jar() -> Path:
    found = sorted((spark_home() / "jars").glob("ivy-*.jar"))
    if not found:
        msg = "pyspark is incomplete, it has no Ivy: remove .venv and run `make setup`."
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
