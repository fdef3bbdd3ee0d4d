"""Score what silver holds and gold doesn't yet, then bring the aggregates up to date; no broker needed."""

from collections.abc import Callable

from pyspark.sql import functions as F

from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.commits import Guard
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from ml.registry.registry import Registry
from ml.registry.versions import CHALLENGER
from streaming.batch.load import follow
from streaming.batch.processing_owner import missing_champion, streams
from streaming.kafka.lake_kafka import kafka_of
from streaming.queries.checkpoints import unfinished
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing, messages, publish
from streaming.tables import TABLES

STREAMED = "a stream scores here all the time (streaming.service.live is true)."


def not_due(settings: Settings) -> str | None:
    """Why there is nothing to score, when it is so: a stream does it, or no model has been trained yet."""
    return STREAMED if streams(settings) else missing_champion(settings)


def score_backlog(settings: Settings, on_progress: Callable[[str, int], None]) -> int:
    """Score the backlog with the champion; decisions are stored, not published.

    But a batch that a stream stored and may not have published whole, since it was killed, is published first.

    Returns:
        Complaints scored.

    Raises:
        ComplaintsError: another process writes the lake, there is no champion, a query failed, or Kafka is needed and
            can't be reached; or a running stream does this already (`streaming.service.live`).
    """
    if streams(settings):
        msg = f"Nothing was scored: {STREAMED}"
        raise ComplaintsError(msg)
    lock = writer_lock(settings)
    try:
        registry = Registry(settings)
        registry.check(registry.champion_version())
        lake = open_lake(lock, settings)
        lake.create(TABLES)
        _publish_rest(lake, lambda what: on_progress(what, 0))
        model = registry.champion()
        challenger = registry.version_of(CHALLENGER) if settings.streaming.shadow else None
        shadow = registry.load(challenger) if challenger else None
        scored = [0]

        def on_rows(rows: int) -> None:
            scored[0] = rows
            on_progress("scoring", rows)

        queries = Queries(lake)
        follow(queries.score(model, None, Trigger(until_done=True), shadow), on_rows)
        follow(queries.summarise(Trigger(until_done=True)), lambda rows: on_progress("summarising", rows))
        return scored[0]
    finally:
        lock.release()


def _publish_rest(lake: Lake, say: Callable[[str], None]) -> None:
    """Publish the decisions of a batch that is stored and not done: its query was killed amid publishing, or before."""
    begun = unfinished(lake, "score")
    version = begun and Guard(lake, begun[0]).written(DECISIONS, begun[1])
    if begun is None or version is None:
        return
    with kafka_of(lake.settings, say) as servers:
        if servers is not None:
            topic = lake.settings.kafka.predictions.name
            stored = lake.read(DECISIONS, version=version).where(F.col("batch_id") == begun[1])
            publish(stored.transform(messages), Publishing(topic, spark_kafka_options(lake, servers)))
