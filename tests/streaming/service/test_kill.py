"""A stream that is killed mid-batch and restarted loses nothing and counts nothing twice.

A real process runs the stream. It is frozen when a table holds a batch that its query has not yet committed to its
checkpoint, which is where duplicates would occur, and killed there: once in each query from Kafka to gold. After the
last kill a standby takes over.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS
from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path
from silver.tables import COMPLAINTS as SILVER
from streaming.kafka.broker import Broker
from streaming.service.standby import FOLDER
from tests.stream_fixtures import WAIT_SECONDS, wait_until
from tests.streaming.service.stream_process import (
    Stream,
    generator,
    lake_with_topics,
    send,
    settled,
    start,
    streams,
)

__all__ = ["streams"]  # the fixture

WRITES: dict[str, Table] = {"ingest": BRONZE, "refine": SILVER, "score": DECISIONS}


@pytest.mark.timeout(1800)
def test_a_kill_mid_batch_in_each_query_loses_and_duplicates_nothing_and_a_standby_takes_over(
    trained_lake: Settings, tmp_path: Path, streams: list[Stream], record_property: Callable[[str, object], None]
) -> None:
    with Broker(tmp_path / "broker") as broker:
        settings = lake_with_topics(trained_lake, tmp_path, broker)
        made, sent = generator(), 0
        for name in ("ingest", "refine"):
            sent += send(settings, made)
            streams.append(start(settings))
            kill_mid_batch(streams[-1], name)

        running = start(settings)
        streams.append(running)
        wait_until(lambda: running.is_alive() and "Streaming from" in running.output, "the stream's start")
        standby = start(settings, "--standby")
        streams.append(standby)
        warm_up_log = settings.folder / FOLDER / "tables" / "gold" / "decisions" / "_delta_log"
        wait_until(lambda: standby.is_alive() and any(warm_up_log.glob("*1.json")), "a batch of the warm-up")
        assert running.is_alive(), "the running stream is left alone"
        sent += send(settings, made)
        kill_mid_batch(running, "score")
        sent += send(settings, made)
        settled(standby, sent, broker)
        record_property("kills in the middle of a batch", len(streams) - 1)
        record_property("messages accounted for", sent)
        assert not (settings.folder / FOLDER).exists()


def newest(folder: Path, ending: str = "") -> int:
    """Return the highest number among the file names; -1 if there is none."""
    if not folder.is_dir():
        return -1
    names = (name.removesuffix(ending) for name in os.listdir(folder) if name.endswith(ending))  # noqa: PTH208  # quick
    return max((int(name) for name in names if name.isdigit()), default=-1)


def kill_mid_batch(stream: Stream, name: str) -> None:
    """Kill the stream when the query's table holds a batch that its checkpoint has not committed."""
    settings = stream.settings
    log = table_path(settings, WRITES[name]) / "_delta_log"
    checkpoint = settings.folder / "checkpoints" / name
    seen = newest(log, ".json")
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if newest(log, ".json") == seen:
            stream.is_alive()
            time.sleep(0.002)
            continue
        stream.signal_all(signal.SIGSTOP)  # freeze it while we look
        seen = newest(log, ".json")
        batch = marked(log / f"{seen:020}.json")
        if batch is not None and newest(checkpoint / "commits") < batch == newest(checkpoint / "offsets"):
            stream.signal_all(signal.SIGKILL)
            assert stream.process.wait() == -signal.SIGKILL
            return
        stream.signal_all(signal.SIGCONT)
    pytest.fail(f"{name} was not seen in the middle of a batch:\n{stream.output[-3000:]}")


def marked(commit: Path) -> int | None:
    """Return the batch number in a commit's mark."""
    for line in commit.read_text(encoding="utf-8").splitlines():
        mark = json.loads(line).get("commitInfo", {}).get("userMetadata") or ""
        if mark.rpartition(":")[2].isdigit():
            return int(mark.rpartition(":")[2])
    return None
