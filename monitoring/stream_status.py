"""What a stream did: throughput, latency, decisions, over a period of gold.stream_health and gold.decisions.

Needs no Spark and never waits for the stream.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gold.latency import latency_ms
from lakehouse.settings import Settings
from lakehouse.sql.query import Result
from monitoring.lake_sql import lake_query

WINDOW = timedelta(minutes=10)  # of the latest period with data


@dataclass(frozen=True)
class View:
    """A view of the stream over a period.

    Attributes:
        statement: takes $since and $until; durations in milliseconds unless stated otherwise.
        newest: returns the time of the newest row.
    """

    statement: str
    newest: str


THROUGHPUT = View(
    """
    SELECT date_trunc('minute', started_at) AS minute, query, sum(rows)::BIGINT AS rows, count(*) AS batches
    FROM gold.stream_health WHERE started_at BETWEEN $since AND $until
    GROUP BY ALL ORDER BY minute, query
    """,
    "SELECT max(started_at) FROM gold.stream_health",
)
LATENCY = View(
    f"""
    SELECT date_trunc('minute', kafka_timestamp) AS minute, count(*) AS decisions,
           quantile_disc(waited, 0.5) AS p50_ms, quantile_disc(waited, 0.95) AS p95_ms,
           quantile_disc(waited, 0.99) AS p99_ms, max(waited) AS max_ms
    FROM (SELECT kafka_timestamp, {latency_ms(millis="epoch_ms")} AS waited
          FROM gold.decisions WHERE kafka_timestamp BETWEEN $since AND $until)
    GROUP BY minute ORDER BY minute
    """,  # noqa: S608 - constants
    "SELECT max(kafka_timestamp) FROM gold.decisions",
)
DECIDED = "SELECT max(scored_at) FROM gold.decisions"
DISTRIBUTION = View(
    """
    WITH scored AS (
        SELECT urgency, team, least(probability, 0.999) AS probability, scored_at >= $since AS recent
        FROM gold.decisions WHERE scored_at BETWEEN $since - 5 * ($until - $since) AND $until),
    named AS (
        SELECT 'urgency' AS of, urgency AS value, recent FROM scored
        UNION ALL SELECT 'team', team, recent FROM scored
        UNION ALL SELECT 'score', format('{:.1f} to {:.1f}', floor(probability * 10) / 10,
                                         floor(probability * 10) / 10 + 0.1), recent FROM scored)
    SELECT of, value, count(*) FILTER (recent) AS recent, count(*) FILTER (NOT recent) AS before
    FROM named GROUP BY ALL ORDER BY ALL
    """,
    DECIDED,
)
SAMPLES = View(
    """
    SELECT complaint_id, scored_at, urgency, team, round(probability, 3) AS probability, recommended_action,
           list_transform(reasons, lambda why: why.reason) AS reasons
    FROM gold.decisions WHERE scored_at BETWEEN $since AND $until ORDER BY scored_at DESC, complaint_id LIMIT 5
    """,
    DECIDED,
)


@dataclass(frozen=True)
class Period:
    """A view's rows over a period; all times are in UTC, without a zone.

    Attributes:
        result: the rows.
        since: begin of the period.
        until: its end.
        newest: time of the newest row of any period; None if there is none.
    """

    result: Result
    since: datetime
    until: datetime
    newest: datetime | None


def looked(settings: Settings, view: View, window: timedelta | None = None) -> Period:
    """Return a view over the time up to now, or over the latest ten minutes that have data.

    Args:
        settings: settings of the lake.
        view: the view.
        window: how long before now the period begins; None for the latest ten minutes with data.

    Raises:
        ComplaintsError: there are no tables yet.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    ((newest,),) = lake_query(settings, view.newest).rows
    until = now if window or newest is None else newest
    since = until - (window or WINDOW)
    return Period(lake_query(settings, view.statement, {"since": since, "until": until}), since, until, newest)
