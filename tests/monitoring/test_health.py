"""A stream is healthy only if its own process reports it and each of its queries makes progress."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.lake import Lake, writer, writer_lock
from monitoring.health import health
from silver.tables import QUARANTINE
from streaming.status import FILE, QUERIES, QueryStatus, StreamStatus, read_status, remove_status, write_status
from streaming.tables import TABLES
from tests.complaints.conftest import Run

# Holds the writer lock, as `complaints score` does.
SCORING = """
import sys
from pathlib import Path
from lakehouse.settings import load_settings
from lakehouse.tables.lake import writer_lock
lock = writer_lock(load_settings(root=Path(sys.argv[2])))
print("writing", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def settings(lake: Lake) -> Settings:
    """Settings of a lake with tables."""
    lake.create(TABLES)
    return lake.settings


@pytest.fixture
def scoring(settings: Settings, tmp_path: Path) -> Iterator[int]:
    """The process id of a command that is not a stream and writes the lake."""
    program = tmp_path / "complaints"
    program.write_text(SCORING)
    command = [sys.executable, str(program), "score", str(settings.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process.pid
        process.kill()


def reported(**changed: object) -> StreamStatus:
    """The status of this process as a healthy stream."""
    now = datetime.now(UTC)
    queries = {name: QueryStatus(is_active=True, restarts=0, progress_at=now) for name in QUERIES}
    status = StreamStatus(os.getpid(), "running", now, now - timedelta(hours=1), "resolution version 3", queries)
    return replace(status, **changed)  # type: ignore[arg-type]


def test_a_process_that_is_not_a_stream_is_named(scoring: int, settings: Settings, run: Run) -> None:
    answer = run("--root", settings.folder, "monitor", "health")
    assert answer.code == 1
    assert f"No stream does: the process {scoring} (complaints score {settings.folder}) writes this lake" in answer.err
    assert answer.out.count("not running") == len(QUERIES)
    write_status(settings.folder, reported(pid=scoring + 1))  # of an earlier stream, which was killed
    assert f"the last one (process {scoring + 1}) ended without being stopped" in health(settings).problems[0]
    with pytest.raises(ComplaintsError, match=rf"Another process is writing .* It is process {scoring} \(complaints"):
        writer_lock(settings)


def test_the_process_of_a_lock_is_found_without_taking_it(settings: Settings) -> None:
    assert writer(settings) is None
    with writer_lock(settings):
        holder = writer(settings)
        assert holder
        assert holder.pid == os.getpid()
    assert writer(settings) is None
    assert not list(settings.folder.glob("*.pid"))


def test_a_stream_with_four_active_queries_is_healthy(settings: Settings, run: Run) -> None:
    with writer_lock(settings):
        write_status(settings.folder, reported())
        answer = run("--root", settings.folder, "monitor", "health", "--json")
    shown = json.loads(answer.out)
    assert (answer.code, answer.err, shown["problems"]) == (0, "", [])
    assert (shown["running"], shown["model"]) == (True, "resolution version 3")
    assert [(one["query"], one["state"], one["restarts"]) for one in shown["queries"]] == [
        (name, "active", 0) for name in QUERIES
    ]


MINUTE = timedelta(minutes=1)


def query(*, is_active: bool = True, age: timedelta = 0 * MINUTE) -> QueryStatus:
    """A query that made progress so long ago."""
    return QueryStatus(is_active, 0, datetime.now(UTC) - age)


@pytest.mark.parametrize(
    ("phase", "age", "refine", "problem"),
    [
        ("running", 0 * MINUTE, query(is_active=False), "The refine query is restarting, without progress since"),
        ("running", 0 * MINUTE, query(age=6 * MINUTE), "The refine query is stalled, without progress since"),
        ("running", 0 * MINUTE, None, "The refine query is not running."),
        ("running", 1 * MINUTE, query(), "has not reported since"),
        ("starting", 1 * MINUTE, None, "is starting, since"),
        ("starting", 11 * MINUTE, None, "has not reported since"),
        ("stopping", 1 * MINUTE, query(), "is stopping, since"),
        ("failed", 1 * MINUTE, query(), "has failed, and is ending"),
    ],
)
def test_a_dead_query_and_a_frozen_stream_are_problems(
    settings: Settings,
    run: Run,
    phase: str,
    age: timedelta,
    refine: QueryStatus | None,
    problem: str,
) -> None:
    status = reported(phase=phase, at=datetime.now(UTC) - age)
    queries = {name: one for name, one in {**status.queries, "refine": refine}.items() if one}
    with writer_lock(settings):
        write_status(settings.folder, replace(status, queries=queries))
        answer = run("--root", settings.folder, "monitor", "health")
    assert answer.code == 1
    assert problem in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_stream_that_was_stopped_leaves_nothing(settings: Settings, run: Run) -> None:
    write_status(settings.folder, reported())
    remove_status(settings.folder)
    answer = run("--root", settings.folder, "monitor", "health")
    assert (answer.code, answer.err) == (1, "No stream runs on this lake. `complaints stream` starts one.\n")


def test_quarantine_and_the_newest_rows_are_those_of_the_tables(settings: Settings, spark: SparkSession) -> None:
    lake = Lake(spark, settings)
    landed = datetime(2026, 1, 2, 12, tzinfo=UTC)
    row = {"record_id": "t/0/1", "source": "kafka", "ingested_at": landed}
    lake.append(lake.frame([row], BRONZE), BRONZE, "test:1")
    lake.append(lake.frame([{"record_id": "t/0/1", "refined_at": landed}], QUARANTINE), QUARANTINE, "test:1")
    found = health(settings)
    assert found.newest == {"bronze": landed.replace(tzinfo=None), "silver": None, "gold": None}
    assert (found.unread, found.quarantined, found.quarantined_share) == (None, 1, 1.0)


def test_a_damaged_status_file_is_named(settings: Settings) -> None:
    (settings.folder / FILE).write_text('{"pid": 1}')
    with pytest.raises(ComplaintsError, match=rf"{FILE} is damaged: delete it"):
        read_status(settings.folder)
