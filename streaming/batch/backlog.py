"""Score complaints that are in silver but not in gold, then update the aggregates; needs no broker."""

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.step import Step
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

STREAMED = "a stream scores continuously here (streaming.service.live is true)."


def not_due(settings: Settings) -> str | None:
    """Return why there is nothing to score, if so: a stream does it, or no model has been trained yet."""
    return STREAMED if streams(settings) else missing_champion(settings)


def score_backlog(settings: Settings, on_progress: Callable[[str, int], None]) -> int:
    """Score the backlog with the champion; decisions are stored, not published.

    Exception: if a stream was killed after storing a batch and before publishing all of it, that batch is published.

    Returns:
        Number of complaints scored.

    Raises:
        ComplaintsError: another process writes the lake, there is no champion, a query failed, Kafka is needed and
            can't be reached, or a running stream does the scoring (`streaming.service.live`).
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
        _publish_unfinished(lake, lambda what: on_progress(what, 0))
        model = registry.champion()
        challenger = registry.version_of(CHALLENGER) if settings.streaming.shadow else None
        shadow = registry.load(challenger) if challenger else None
        scored = [0]

        def on_rows(rows: int) -> None:
            scored[0] = rows
            on_progress("scoring", rows)

        queries = Queries(lake)
        follow(queries.score(model, None, Trigger(until_done=True), shadow), on_rows)
        follow(queries.revise(model, None, Trigger(until_done=True)), lambda _: None)
        follow(queries.summarise(Trigger(until_done=True)), lambda rows: on_progress("summarizing", rows))
        return scored[0]
    finally:
        lock.release()


def _publish_unfinished(lake: Lake, notify: Callable[[str], None]) -> None:
    """Publish batches that were stored but not completed: their query was killed before or while publishing."""
    for query in ("score", "revise"):
        batch = unfinished(lake, query)
        version = batch and Guard(lake, batch[0]).written(DECISIONS, batch[1])
        if batch is None or version is None:
            continue
        with kafka_of(lake.settings, notify) as servers:
            if servers is not None:
                topic = lake.settings.kafka.predictions.name
                stored = lake.read(DECISIONS, version=version).transform(_of_batch(query, batch[1]))
                publish(stored.transform(messages), Publishing(topic, spark_kafka_options(lake, servers)))


def _of_batch(query: str, batch_id: int) -> Step:
    """Return the step that keeps the decisions of a query's batch, which is the last that it stored."""
    if query == "score":
        return lambda decisions: decisions.where(F.col("batch_id") == batch_id)

    def revised(decisions: DataFrame) -> DataFrame:
        again = decisions.where("replaces IS NOT NULL")
        return again.join(again.agg(F.max("scored_at").alias("scored_at")), "scored_at", "left_semi")

    return revised
