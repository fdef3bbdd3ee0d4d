"""Score what silver holds and gold doesn't yet, then bring the aggregates up to date; no broker needed."""

from collections.abc import Callable

from lakehouse.errors import ComplaintsError
from lakehouse.lake import opened, writer
from lakehouse.settings import Settings
from ml.records import CHALLENGER
from ml.registry import Registry
from streaming.duty import no_champion, streams
from streaming.load import follow
from streaming.queries import Queries, Trigger
from streaming.tables import TABLES

STREAMED = "a stream scores here all the time (streaming.live is true)."


def not_due(settings: Settings) -> str | None:
    """Why there is nothing to score, when it is so: a stream does it, or no model has been trained yet."""
    return STREAMED if streams(settings) else no_champion(settings)


def score_backlog(settings: Settings, on_progress: Callable[[str, int], None]) -> int:
    """Score the backlog with the champion; decisions are stored, not published.

    Returns:
        Complaints scored.

    Raises:
        ComplaintsError: another process writes the lake, there is no champion, or a query failed; or a stream does this
            all the time (`streaming.live`), beside which nobody else may.
    """
    if streams(settings):
        msg = f"Nothing was scored: {STREAMED}"
        raise ComplaintsError(msg)
    lock = writer(settings)
    try:
        registry = Registry(settings)
        registry.check(registry.champion_version())
        lake = opened(lock, settings)
        lake.create(TABLES)
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
