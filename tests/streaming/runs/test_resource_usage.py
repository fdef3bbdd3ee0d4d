"""What a run costs is told from two looks at the real processes; files are counted only where that is asked for."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming.runs import resource_usage
from streaming.runs.resource_usage import Usage, UsageRecorder


def test_a_look_tells_memory_and_the_processor_time_that_work_costs(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_usage, "SAMPLE_SECONDS", -1.0)  # a clock may say the same twice
    recorder = UsageRecorder(spark, [])
    began = datetime.now(UTC)
    recorder.poll()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    recorder.poll()
    first, last = recorder.samples
    assert last.cpu_s - first.cpu_s >= 0.25
    assert recorder.cpu_seconds(began, datetime.now(UTC)) == last.cpu_s - first.cpu_s
    assert 0 < first.heap_mb <= first.resident_mb
    assert last.others_cores >= 0
    assert (first.files, first.disk_mb) == (None, None)


def test_between_two_looks_nothing_is_asked(spark: SparkSession) -> None:
    recorder = UsageRecorder(spark, [])
    for _ in range(3):
        recorder.poll()
    assert len(recorder.samples) == 1


def test_the_files_of_the_folders_are_counted_once_a_minute(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_usage, "SAMPLE_SECONDS", -1.0)  # a clock may say the same twice
    (tmp_path / "tables" / "deep").mkdir(parents=True)
    (tmp_path / "tables" / "deep" / "a").write_bytes(b"x" * 2**20)
    (tmp_path / "tables" / "b").write_bytes(b"")
    recorder = UsageRecorder(spark, [tmp_path / "tables", tmp_path / "not-there"])
    recorder.poll()
    recorder.poll()
    assert [(look.files, look.disk_mb) for look in recorder.samples] == [(2, 1.0), (None, None)]


def test_costs_are_those_between_two_times(spark: SparkSession) -> None:
    began = datetime(2024, 3, 4, 12, tzinfo=UTC)
    recorder = UsageRecorder(spark, [])
    recorder.samples = [Usage(began + timedelta(seconds=s), 10.0 + s, 100, 200, s / 10) for s in range(0, 10, 2)]
    assert recorder.cpu_seconds(began + timedelta(seconds=2), began + timedelta(seconds=7)) == 4.0
    assert recorder.cpu_seconds(began + timedelta(hours=1), began + timedelta(hours=2)) == 0.0
    assert recorder.others_cores(began + timedelta(seconds=6)) == pytest.approx(0.7)
    assert recorder.others_cores(began + timedelta(hours=1)) == 0.0
