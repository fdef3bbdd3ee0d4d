"""What the queries say of each batch: kept in memory for a report, and stored in gold.stream_health."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql.streaming.query import StreamingQuery

from gold.tables import STREAM_HEALTH
from lakehouse.commits import mark
from lakehouse.lake import Lake

FLUSH_SECONDS = 10.0


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
    """Spark's progress of one batch as a row of gold.stream_health."""
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
    """Messages in Kafka behind the batch; None for a query that doesn't read Kafka, or when Spark doesn't say."""
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
    """Gathers the batches of running queries; call `poll` every second or so: Spark keeps the last few only.

    Args:
        lake: where they are stored.
        on_progress: told what Spark says of each batch that is done, once.
    """

    def __init__(self, lake: Lake, on_progress: OnProgress = lambda _: None) -> None:
        self._lake = lake
        self._on_progress = on_progress
        self._seen: dict[tuple[str, int], BatchHealth] = {}
        self._unwritten: list[BatchHealth] = []
        self._flushed = time.monotonic()

    @property
    def batches(self) -> list[BatchHealth]:
        """Every batch with rows since the start, in no order."""
        return list(self._seen.values())

    def poll(self, queries: Mapping[str, StreamingQuery]) -> None:
        """Take in what is new, and store it every ten seconds."""
        for query in queries.values():
            for progress in query.recentProgress:
                key = (progress["runId"], int(progress["batchId"]))
                if progress["numInputRows"] and key not in self._seen:
                    self._seen[key] = batch_health(progress)
                    self._unwritten.append(self._seen[key])
                    self._on_progress(progress)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what isn't stored yet."""
        self._flushed = time.monotonic()
        if self._unwritten:
            rows = self._lake.frame([asdict(batch) for batch in self._unwritten], STREAM_HEALTH)
            self._lake.append(rows, STREAM_HEALTH, mark("health", self._unwritten[-1].batch_id))
            self._unwritten = []
