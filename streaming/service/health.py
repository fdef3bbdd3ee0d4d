"""Progress of each batch of the queries: passed to listeners and stored in gold.stream_health."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql.streaming.query import StreamingQuery

from gold.tables import STREAM_HEALTH
from lakehouse.logs import about
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import Lake

FLUSH_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchHealth:
    """One batch of one query; the fields are the columns of gold.stream_health."""

    query: str
    query_id: str
    run_id: str
    batch_id: int
    started_at: datetime
    rows: int
    batch_ms: int
    offsets_ms: int
    planning_ms: int
    execution_ms: int
    commit_ms: int
    lag_rows: int | None


def batch_health(progress: Mapping[str, Any]) -> BatchHealth:
    """Return Spark's progress of one batch as a row of gold.stream_health."""
    spent = progress["durationMs"]
    return BatchHealth(
        query=progress["name"],
        query_id=progress["id"],
        run_id=progress["runId"],
        batch_id=int(progress["batchId"]),
        started_at=datetime.fromisoformat(progress["timestamp"]).astimezone(UTC),
        rows=int(progress["numInputRows"]),
        batch_ms=spent.get("triggerExecution", 0),
        offsets_ms=spent.get("latestOffset", 0) + spent.get("getBatch", 0) + spent.get("walCommit", 0),
        planning_ms=spent.get("queryPlanning", 0),
        execution_ms=spent.get("addBatch", 0),
        commit_ms=spent.get("commitOffsets", 0),
        lag_rows=_lag(progress),
    )


def _lag(progress: Mapping[str, Any]) -> int | None:
    """Return the messages in Kafka after the batch; None if Spark doesn't report it or for other sources."""
    source = progress["sources"][0]
    latest, end = source.get("latestOffset"), source.get("endOffset")
    if progress["name"] != "ingest" or not isinstance(latest, dict) or not isinstance(end, dict):
        return None
    return sum(
        int(offset) - int(end.get(topic, {}).get(partition, 0))
        for topic, partitions in latest.items()
        for partition, offset in partitions.items()
    )


OnProgress = Callable[[Mapping[str, Any]], None]


class HealthRecorder:
    """Collects the queries' batches; call `poll` about once per second: Spark keeps only the last few.

    Batches are dropped once they are stored, because a stream may run for months.

    Args:
        lake: where batches are stored.
        listeners: each called once with Spark's progress of each completed batch with rows; more may be added.

    Attributes:
        latest: the newest batch with rows, by query.
        rows: rows since the start, by query.
    """

    def __init__(self, lake: Lake, listeners: Iterable[OnProgress] = ()) -> None:
        self._lake = lake
        self.listeners = list(listeners)
        self.latest: dict[str, BatchHealth] = {}
        self.rows: Counter[str] = Counter()
        self._unwritten: list[BatchHealth] = []
        self._flushed = time.monotonic()

    def poll(self, queries: Mapping[str, StreamingQuery]) -> None:
        """Collect new batches, and store them every ten seconds."""
        for query in queries.values():
            for progress in self._unseen(query):
                if progress["numInputRows"] and self._is_new(progress):
                    self._add(progress)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def _unseen(self, query: StreamingQuery) -> Sequence[Mapping[str, Any]]:
        """Return progress since the last poll, or more: all that Spark keeps if batches were missed."""
        newest = query.lastProgress
        if newest is None:
            return ()
        latest = self.latest.get(newest["name"])
        is_next = latest is not None and latest.run_id == newest["runId"] and newest["batchId"] <= latest.batch_id + 1
        return (newest,) if is_next else query.recentProgress

    def _is_new(self, progress: Mapping[str, Any]) -> bool:
        """Whether a batch is newer than the latest of its query; a restarted query continues the batch ids."""
        latest = self.latest.get(progress["name"])
        same_start = latest is not None and latest.run_id == progress["runId"]
        return latest is None or not same_start or int(progress["batchId"]) > latest.batch_id

    def _add(self, progress: Mapping[str, Any]) -> None:
        batch = batch_health(progress)
        self.latest[batch.query] = batch
        self.rows[batch.query] += batch.rows
        self._unwritten.append(batch)
        with about(query=batch.query, batch_id=batch.batch_id, rows=batch.rows, batch_ms=batch.batch_ms):
            log.info("batch completed")
        for listener in self.listeners:
            listener(progress)

    def flush(self) -> None:
        """Store the batches that aren't stored yet."""
        self._flushed = time.monotonic()
        if self._unwritten:
            rows = self._lake.frame([asdict(batch) for batch in self._unwritten], STREAM_HEALTH)
            self._lake.append(rows, STREAM_HEALTH, mark("health", self._unwritten[-1].batch_id))
            self._unwritten = []
