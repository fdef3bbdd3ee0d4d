"""Replay quarantined rows: evaluate them with the current rules, and append those that pass to bronze.

Reads silver.quarantine and bronze.complaints; appends to bronze.complaints, refines, and records in silver.quarantine
when each row was replayed. Grain: one waiting row of silver.quarantine.

If a replay is killed, the next one sends nothing twice: replayed rows are those with source 'replay' in bronze, all in
one commit. Their timestamps in quarantine are derived from bronze, so each replay begins by refining bronze and writing
the missing timestamps; rows that are still waiting after that have never been sent.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze.land import landed_from_quarantine
from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.spark.held import held
from lakehouse.spark.planned import planned
from lakehouse.tables.commits import mark
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from silver.expectations import load_expectations
from silver.keys import USABLE
from silver.refine import NARRATIVE_WITHOUT_COMPLAINT, arrived
from silver.tables import COMPLAINTS, DUPLICATES, QUARANTINE
from streaming.batch.load import refine
from streaming.queries.definitions import Queries
from streaming.tables import TABLES

REFUSED_SHOWN = 1000


@dataclass(frozen=True)
class ReplayResult:
    """Result of a replay.

    Attributes:
        replayed: rows replayed now.
        silver: replayed rows that became complaints.
        duplicates: replayed rows of complaints that were already known.
        sent_before: fixed rows that an earlier replay had sent; they were skipped.
        still_refused: rows that would be refused again and were not sent.
        refused: the first `REFUSED_SHOWN` of them, with `record_id` and `reasons`.
        seconds: from start to end, including Spark's startup.
    """

    replayed: int
    silver: int
    duplicates: int
    sent_before: int
    still_refused: int
    refused: tuple[Mapping[str, Any], ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {**vars(self), "refused": list(self.refused), "seconds": round(self.seconds, 1)}


NOTHING = ReplayResult(0, 0, 0, 0, 0, (), 0.0)  # of a quarantine where no row waits


def replay(
    settings: Settings,
    *,
    reason: str | None,
    replacements: Mapping[str, str | None] | None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> ReplayResult:
    """Replay the waiting rows that now pass.

    Args:
        settings: the run's settings.
        reason: evaluate only rows that broke this rule; None evaluates all.
        replacements: evaluate only these rows, by record_id, with these payloads; None evaluates each row's own.
        on_progress: called with the current step.

    Raises:
        ComplaintsError: another process writes the lake, there is no lake yet, a fixed row was never in quarantine,
            or refining failed.
    """
    began = time.monotonic()
    lock = writer_lock(settings)
    try:
        lake = open_lake(lock, settings)
        lake.read(QUARANTINE)  # raises if there is no lake yet, which `create` would create
        lake.create(TABLES)
        replaying = _Replay(lake, on_progress)
        replaying.sync()
        fixed = None if replacements is None else replaying.fixed(replacements)
        with replaying.evaluated(replaying.candidates(reason, fixed)) as evaluated:
            sent_before = 0 if fixed is None else replaying.sent_before(fixed)
            refused = evaluated.where("size(reasons) > 0").select("record_id", "reasons")
            still_refused, shown = refused.count(), refused.orderBy("record_id").limit(REFUSED_SHOWN).collect()
            sent = replaying.send(evaluated)
    finally:
        lock.release()
    return ReplayResult(
        **sent,
        sent_before=sent_before,
        still_refused=still_refused,
        refused=tuple(row.asDict() for row in shown),
        seconds=time.monotonic() - began,
    )


class _Replay:
    """The steps of one replay on a lake; this process holds its writer lock."""

    def __init__(self, lake: Lake, on_progress: Callable[[str], None]) -> None:
        self._lake = lake
        self._on_progress = on_progress

    def sync(self) -> None:
        """Refine bronze into silver, and record in quarantine every row that bronze has as replayed."""
        self._on_progress("refining")
        refine(self._lake, lambda done: self._on_progress(f"refining: {done:,}"))
        sent = self._lake.read(BRONZE).where("source = 'replay'").select("replay_of").distinct()
        (
            self._lake.delta(QUARANTINE)
            .alias("t")
            .merge(sent.alias("s"), "t.record_id = s.replay_of AND t.replayed_at IS NULL")
            .whenMatchedUpdate(set={"replayed_at": F.current_timestamp()})
            .execute()
        )

    def fixed(self, replacements: Mapping[str, str | None]) -> DataFrame:
        """Return the fixed rows as a DataFrame with `record_id` and `replacement`.

        Raises:
            ComplaintsError: a row was never in quarantine.
        """
        fixed = self._lake.spark.createDataFrame(list(replacements.items()), "record_id string, replacement string")
        unknown = fixed.join(self._lake.read(QUARANTINE), "record_id", "left_anti").select("record_id")
        if first := unknown.orderBy("record_id").first():
            msg = (
                f"The row {first.record_id} is not in quarantine, so nothing was sent: "
                "`complaints quarantine list --export FILE` writes the rows that are."
            )
            raise ComplaintsError(msg)
        return fixed

    def sent_before(self, fixed: DataFrame) -> int:
        """Return how many of the fixed rows an earlier replay has sent."""
        sent = self._lake.read(QUARANTINE).where("replayed_at IS NOT NULL")
        return fixed.join(sent, "record_id", "left_semi").count()

    def candidates(self, reason: str | None, fixed: DataFrame | None) -> DataFrame:
        """Return the rows of bronze to evaluate, landing now, with their payloads as received or fixed."""
        waiting = self._lake.read(QUARANTINE).where("replayed_at IS NULL")
        if reason is not None:
            waiting = waiting.where(F.array_contains("reasons", reason))
        landing = {"first_arrived_at": arrived(), "ingested_at": F.current_timestamp()}
        rows = self._lake.read(BRONZE).withColumns(landing)
        wanted = waiting.select("record_id")
        if fixed is None:
            return rows.join(F.broadcast(wanted), "record_id")
        own = rows.join(F.broadcast(wanted.join(fixed, "record_id")), "record_id")
        is_fixed = F.col("replacement").isNotNull()
        changed = {
            "payload": F.coalesce("replacement", "payload"),
            "payload_bytes": F.when(~is_fixed, F.col("payload_bytes")),
            "source": F.when(is_fixed, "replay").otherwise(F.col("source")),
        }
        return own.withColumns(changed).drop("replacement")

    @contextmanager
    def evaluated(self, candidates: DataFrame) -> Iterator[DataFrame]:
        """Return the candidates with the reasons to refuse them; empty for those that pass.

        Rules see a row that was not fixed as they saw it the first time, with its source and place. So they give the
        reasons that quarantine lists, unless the rules have changed since.
        """
        self._on_progress("evaluating")
        refining = Queries(self._lake).refining(load_expectations(self._lake.spark))
        step = planned(refining, self._lake.settings)
        judged = candidates.transform(step).select("record_id", "complaint_id", "bare_narrative", "reasons")
        # Both are held, because each later use would plan the step's hundreds of expressions again.
        with held(judged) as verdict:
            orphan = F.col("bare_narrative") & F.col("is_known").isNull()
            reasons = F.when(orphan, F.array(F.lit(NARRATIVE_WITHOUT_COMPLAINT))).otherwise(F.col("reasons"))
            known = self._known(verdict)
            found = verdict.join(known, "complaint_id", "left").select("record_id", reasons.alias("reasons"))
            content = candidates.select("record_id", "payload", "payload_bytes", "first_arrived_at", "is_synthetic")
            with held(content.join(found, "record_id")) as evaluated:
                yield evaluated

    def _known(self, verdict: DataFrame) -> DataFrame:
        """Complaints of rows with nothing but a narrative: those in silver, and those that come with this replay."""
        usable = verdict.where(USABLE).select("complaint_id")
        bare = verdict.where("bare_narrative").select("complaint_id")
        known = self._lake.read(COMPLAINTS).select("complaint_id").union(usable)
        return (
            known.join(F.broadcast(bare), "complaint_id", "left_semi").distinct().withColumn("is_known", F.lit("yes"))
        )

    def send(self, evaluated: DataFrame) -> dict[str, int]:
        """Append passing rows to bronze in one commit, refine and record them, and count their destinations."""
        passing = evaluated.where("size(reasons) = 0").drop("reasons")
        count = passing.count()
        if not count:
            return {"replayed": 0, "silver": 0, "duplicates": 0}
        self._on_progress(f"sending {count:,}")
        began = self._lake.spark.sql("SELECT current_timestamp()").first()[0]  # type: ignore[index]
        self._lake.append(passing.transform(landed_from_quarantine), BRONZE, mark("replay", began.isoformat()))
        self.sync()
        return {
            "replayed": count,
            **{name: self._arrived(table, began) for name, table in _ARRIVED.items()},
        }

    def _arrived(self, table: Table, since: object) -> int:
        sent = self._lake.read(BRONZE).where((F.col("source") == "replay") & (F.col("ingested_at") >= F.lit(since)))
        rows = self._lake.read(table).where(F.col("ingested_at") >= F.lit(since))
        return rows.join(F.broadcast(sent.select("record_id")), "record_id", "left_semi").count()


_ARRIVED = {"silver": COMPLAINTS, "duplicates": DUPLICATES}
