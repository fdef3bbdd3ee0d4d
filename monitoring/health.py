"""Health of a lake's stream: which process it is, whether each query makes progress, and what waits.

Combines the writer lock, the stream's status file, Kafka's end offsets and the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.lake import writer
from lakehouse.tables.writer_lock import Holder
from monitoring.lake_sql import lake_query
from monitoring.measures import unread_messages
from streaming.status import QUERIES, StreamStatus, read_status

WINDOW = timedelta(minutes=10)  # of the batch times, and of the quarantined share
HISTORY = timedelta(days=1)  # in which a query's last batch is looked for

# Parameters: $since, $history.
BATCHES = """
    SELECT query, max_by(batch_id, started_at) AS last_batch, max(started_at) AS last_began,
           count(*) FILTER (started_at >= $since) AS batches,
           median(batch_ms) FILTER (started_at >= $since) AS p50_ms,
           quantile_disc(batch_ms, 0.99) FILTER (started_at >= $since) AS p99_ms
    FROM gold.stream_health WHERE started_at >= $history GROUP BY query
"""
NEWEST = """
    SELECT (SELECT max(ingested_at) FROM bronze.complaints), (SELECT max(refined_at) FROM silver.complaints),
           (SELECT max(scored_at) FROM gold.decisions), (SELECT max(started_at) FROM gold.stream_health),
           greatest((SELECT max(refined_at) FROM silver.complaints), (SELECT max(refined_at) FROM silver.duplicates),
                    (SELECT max(refined_at) FROM silver.quarantine))
"""
QUARANTINED = """
    SELECT count(*) FILTER (refused), count(*) FROM (
        SELECT false AS refused FROM silver.complaints WHERE refined_at >= $since
        UNION ALL SELECT false FROM silver.duplicates WHERE refined_at >= $since
        UNION ALL SELECT true FROM silver.quarantine WHERE refined_at >= $since)
"""


@dataclass(frozen=True)
class QueryHealth:
    """One query.

    Attributes:
        query: its name.
        state: active, restarting, stalled (no progress for five minutes), or not running.
        restarts: restarts since the stream started; None if no stream runs.
        last_batch: its newest batch of the last day that had rows.
        age_seconds: seconds since that batch began.
        batches: batches in the latest ten minutes with data.
        p50_ms: median of their times.
        p99_ms: 99th percentile of their times.
    """

    query: str
    state: str
    restarts: int | None
    last_batch: int | None
    age_seconds: int | None
    batches: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Health:
    """A lake's stream at one moment.

    Attributes:
        problems: one sentence each; none if a stream runs with every query alive.
        process: the process that writes the lake; None if none does.
        model: name and version of the model that decides; empty if no stream runs.
        started_at: when the stream started.
        queries: the four queries.
        unread: messages in Kafka that were not read yet; None if there is no broker to ask.
        quarantined: rows that silver refused in the latest ten minutes with data.
        refined: all rows of these ten minutes.
        newest: time of the newest row by layer.
    """

    problems: Sequence[str]
    process: Holder | None
    model: str
    started_at: datetime | None
    queries: Sequence[QueryHealth]
    unread: int | None
    quarantined: int
    refined: int
    newest: dict[str, datetime | None]

    @property
    def is_running(self) -> bool:
        """Whether the process that writes the lake is a stream, healthy or not."""
        return self.started_at is not None

    @property
    def quarantined_share(self) -> float | None:
        """Share of the refined rows that were refused; None without rows."""
        return self.quarantined / self.refined if self.refined else None


def health(settings: Settings) -> Health:
    """Return the health of the lake's stream now.

    Raises:
        ComplaintsError: there are no tables yet, or the status file is damaged.
    """
    now = datetime.now(UTC)
    process, last = writer(settings), read_status(settings.folder)
    status = last if last and process and process.pid == last.pid else None
    ((landed, refined_at, scored, measured, routed_at),) = lake_query(settings, NEWEST).rows
    quarantined, refined = _quarantined(settings, routed_at)
    return Health(
        problems=_problems(process, status, last, now),
        process=process,
        model=status.model if status else "",
        started_at=status.started_at if status else None,
        queries=_queries(settings, status, now, measured),
        unread=_unread(settings),
        quarantined=quarantined,
        refined=refined,
        newest={"bronze": landed, "silver": refined_at, "gold": scored},
    )


def _problems(
    process: Holder | None, status: StreamStatus | None, last: StreamStatus | None, now: datetime
) -> tuple[str, ...]:
    """Return what keeps the stream from being healthy.

    Args:
        process: the process that writes the lake.
        status: what it reports, if it is a stream.
        last: what the lake's last stream reported, if it was not stopped.
        now: the current time, with its zone.
    """
    if status is None:
        running = f"no stream does: the {process} writes this lake" if process else "no stream runs on this lake"
        ended = f"; the last one (process {last.pid}) ended without being stopped, at {_shown(last.at)}" if last else ""
        return (f"{running[0].upper()}{running[1:]}{ended}. `complaints stream` starts one.",)
    if status.is_silent(now):
        silent = f"has not reported since {_shown(status.at)}: it may be frozen"
        return (f"The stream, {process}, {'has failed, and is ending' if status.phase == 'failed' else silent}.",)
    if status.phase != "running":
        return (f"The stream, {process}, is {status.phase}, since {_shown(status.at)}.",)
    states = {name: status.state_of(name, now) for name in QUERIES}
    return tuple(
        f"The {name} query is {state}, without progress since {_shown(status.queries[name].progress_at)}."
        if name in status.queries
        else f"The {name} query is {state}."
        for name, state in states.items()
        if state != "active"
    )


def _queries(
    settings: Settings, status: StreamStatus | None, now: datetime, newest: datetime | None
) -> list[QueryHealth]:
    end = newest or now.replace(tzinfo=None)
    rows = lake_query(settings, BATCHES, {"since": end - WINDOW, "history": end - HISTORY}).rows
    batches = {name: values for name, *values in rows}
    found = []
    for name in QUERIES:
        last_batch, last_began, count, p50, p99 = batches.get(name, (None, None, 0, None, None))
        age = round((now.replace(tzinfo=None) - last_began).total_seconds()) if last_began else None
        state = status.state_of(name, now) if status else "not running"
        restarts = status.queries[name].restarts if status and name in status.queries else None
        found.append(QueryHealth(name, state, restarts, last_batch, age, count, p50, p99))
    return found


def _quarantined(settings: Settings, newest: datetime | None) -> tuple[int, int]:
    """Return the rows that silver refused, and all rows, since ten minutes before its newest row of any kind."""
    if newest is None:
        return 0, 0
    ((refused, refined),) = lake_query(settings, QUARANTINED, {"since": newest - WINDOW}).rows
    return int(refused), int(refined)


def _unread(settings: Settings) -> int | None:
    try:
        return unread_messages(settings)
    except ComplaintsError:  # no broker runs, or it has no topic yet
        return None


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
