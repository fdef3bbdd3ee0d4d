"""A run's resource usage is the difference of two samples; files are counted only if requested."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming.runs import resource_usage
from streaming.runs.resource_usage import Usage, UsageRecorder


def test_a_sample_has_memory_and_cpu_time(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_usage, "SAMPLE_SECONDS", -1.0)  # the clock may return the same time twice
    recorder = UsageRecorder(spark, [])
    start = datetime.now(UTC)
    recorder.poll()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    recorder.poll()
    first, last = recorder.samples
    assert last.cpu_s - first.cpu_s >= 0.25
    assert recorder.cpu_seconds(start, datetime.now(UTC)) == last.cpu_s - first.cpu_s
    assert 0 < first.heap_mb <= first.resident_mb
    assert last.others_cores >= 0
    assert (first.files, first.disk_mb) == (None, None)


def test_polling_between_two_samples_does_nothing(spark: SparkSession) -> None:
    recorder = UsageRecorder(spark, [])
    for _ in range(3):
        recorder.poll()
    assert len(recorder.samples) == 1


def test_the_files_of_the_folders_are_counted_once_a_minute(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_usage, "SAMPLE_SECONDS", -1.0)  # the clock may return the same time twice
    (tmp_path / "tables" / "deep").mkdir(parents=True)
    (tmp_path / "tables" / "deep" / "a").write_bytes(b"x" * 2**20)
    (tmp_path / "tables" / "b").write_bytes(b"")
    recorder = UsageRecorder(spark, [tmp_path / "tables", tmp_path / "not-there"])
    recorder.poll()
    recorder.poll()
    assert [(sample.files, sample.disk_mb) for sample in recorder.samples] == [(2, 1.0), (None, None)]


def test_usage_is_limited_to_an_interval(spark: SparkSession) -> None:
    start = datetime(2024, 3, 4, 12, tzinfo=UTC)
    recorder = UsageRecorder(spark, [])
    recorder.samples = [Usage(start + timedelta(seconds=s), 10.0 + s, 100, 200, s / 10) for s in range(0, 10, 2)]
    assert recorder.cpu_seconds(start + timedelta(seconds=2), start + timedelta(seconds=7)) == 4.0
    assert recorder.cpu_seconds(start + timedelta(hours=1), start + timedelta(hours=2)) == 0.0
    assert recorder.others_cores(start + timedelta(seconds=6)) == pytest.approx(0.7)
    assert recorder.others_cores(start + timedelta(hours=1)) == 0.0
