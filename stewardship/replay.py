"""Quarantined rows sent through once more: judged by today's rules, and appended to bronze when they now pass.

Reads silver.quarantine and bronze.complaints; appends to bronze.complaints, refines, and notes in silver.quarantine
when each row went. Grain: one waiting row of silver.quarantine.

Killed at any point, the next replay sends nothing twice: the rows that went are those that bronze holds as source
'replay', all of them in one commit. Their notes in quarantine follow from bronze alone, so each replay begins by
refining what bronze has and writing the notes that are missing; what it then finds waiting has never been sent.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze.land import landed_from_quarantine
from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.commits import mark
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from silver.expectations import load_expectations
from silver.refine import NARRATIVE_WITHOUT_COMPLAINT, arrived, refined
from silver.standardize import load_taxonomy
from silver.tables import COMPLAINTS, DUPLICATES, QUARANTINE
from streaming.batch.load import refine
from streaming.tables import TABLES

REFUSED_SHOWN = 1000


@dataclass(frozen=True)
class ReplayResult:
    """What a replay did.

    Attributes:
        replayed: rows sent through now.
        silver: those that became complaints.
        duplicates: those that belong to a complaint already known.
        sent_before: mended rows that had gone through in an earlier replay, and were left alone.
        still_refused: rows that were judged and would be refused again, hence not sent.
        refused: the first `REFUSED_SHOWN` of them, with `record_id` and `reasons`.
        seconds: from start to end, Spark's start included.
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


def replay(
    settings: Settings,
    *,
    reason: str | None,
    mended: Mapping[str, str | None] | None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> ReplayResult:
    """Send the waiting rows through that now pass.

    Args:
        settings: the run's settings.
        reason: judge only rows that broke this rule; None judges all.
        mended: judge only these rows, by record_id, with these payloads; None judges each with its own.
        on_progress: told what is under way.

    Raises:
        ComplaintsError: another process writes the lake, there is no lake yet, a mended row was never in quarantine,
            or refining failed.
    """
    began = time.monotonic()
    lock = writer_lock(settings)
    try:
        lake = open_lake(lock, settings)
        lake.read(QUARANTINE)  # refused where there is no lake yet, which `create` would make
        lake.create(TABLES)
        replaying = _Replay(lake, on_progress)
        replaying.settle()
        given = None if mended is None else replaying.given(mended)
        judged = replaying.judged(replaying.candidates(reason, given)).persist()
        try:
            sent_before = 0 if given is None else replaying.sent_before(given)
            refused = judged.where("size(reasons) > 0").select("record_id", "reasons")
            still_refused, shown = refused.count(), refused.orderBy("record_id").limit(REFUSED_SHOWN).collect()
            sent = replaying.send(judged)
        finally:
            judged.unpersist()
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
    """The steps of one replay over one lake, whose writer this process is."""

    def __init__(self, lake: Lake, on_progress: Callable[[str], None]) -> None:
        self._lake = lake
        self._on_progress = on_progress

    def settle(self) -> None:
        """Bring silver up to bronze, and note in quarantine every row that bronze holds as replayed."""
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

    def given(self, mended: Mapping[str, str | None]) -> DataFrame:
        """The mended rows as a frame: record_id and mended.

        Raises:
            ComplaintsError: one of them was never in quarantine.
        """
        given = self._lake.spark.createDataFrame(list(mended.items()), "record_id string, mended string")
        unknown = given.join(self._lake.read(QUARANTINE), "record_id", "left_anti").select("record_id")
        if first := unknown.orderBy("record_id").first():
            msg = (
                f"The row {first.record_id} is not in quarantine, so nothing was sent: "
                "`complaints quarantine list --export FILE` writes the rows that are."
            )
            raise ComplaintsError(msg)
        return given

    def sent_before(self, given: DataFrame) -> int:
        """How many of the mended rows went through in an earlier replay."""
        gone = self._lake.read(QUARANTINE).where("replayed_at IS NOT NULL")
        return given.join(gone, "record_id", "left_semi").count()

    def candidates(self, reason: str | None, given: DataFrame | None) -> DataFrame:
        """The waiting rows to be judged: record_id, arrived_at, payload (whole, or as mended) and refused_for."""
        waiting = self._lake.read(QUARANTINE).where("replayed_at IS NULL")
        if reason is not None:
            waiting = waiting.where(F.array_contains("reasons", reason))
        wanted = waiting.select("record_id", F.col("reasons").alias("refused_for"))
        whole = self._lake.read(BRONZE).select("record_id", "payload", arrived().alias("arrived_at"))
        if given is None:
            return whole.join(F.broadcast(wanted), "record_id")
        own = whole.join(F.broadcast(wanted.join(given, "record_id")), "record_id")
        return own.withColumn("payload", F.coalesce("mended", "payload")).drop("mended")

    def judged(self, candidates: DataFrame) -> DataFrame:
        """The candidates with the reasons for which they would be refused; none for those that pass."""
        self._on_progress("judging")
        step = refined(load_taxonomy(), load_expectations(self._lake.spark), self._lake.settings.silver)
        # As they will land, since a rule may look at where a row comes from; but under the names that they have now.
        is_text = F.col("payload").isNotNull()
        landing = (
            candidates.where(is_text).transform(landed_from_quarantine).withColumn("record_id", F.col("replay_of"))
        )
        verdict = landing.transform(step).select("record_id", "complaint_id", "bare_narrative", "reasons")
        usable = verdict.where("size(reasons) = 0 AND NOT bare_narrative").select("complaint_id")
        bare = verdict.where("bare_narrative").select("complaint_id")
        known = self._lake.read(COMPLAINTS).select("complaint_id").union(usable)
        there = (
            known.join(F.broadcast(bare), "complaint_id", "left_semi").distinct().withColumn("is_known", F.lit("yes"))
        )
        orphan = F.col("bare_narrative") & F.col("is_known").isNull()
        reasons = F.when(orphan, F.array(F.lit(NARRATIVE_WITHOUT_COMPLAINT))).otherwise(F.col("reasons"))
        texts = verdict.join(there, "complaint_id", "left").select("record_id", reasons.alias("now"))
        return candidates.join(texts, "record_id", "left").select(
            "record_id", "payload", "arrived_at", F.coalesce("now", "refused_for").alias("reasons")
        )

    def send(self, judged: DataFrame) -> dict[str, int]:
        """Append those that pass to bronze in one commit, refine them, note them, and count where they went."""
        passing = judged.where("size(reasons) = 0").drop("reasons")
        count = passing.count()
        if not count:
            return {"replayed": 0, "silver": 0, "duplicates": 0}
        self._on_progress(f"sending {count:,}")
        began = self._lake.spark.sql("SELECT current_timestamp()").first()[0]  # type: ignore[index]
        self._lake.append(passing.transform(landed_from_quarantine), BRONZE, mark("replay", began.isoformat()))
        self.settle()
        return {
            "replayed": count,
            **{name: self._arrived(table, began) for name, table in _ARRIVED.items()},
        }

    def _arrived(self, table: Table, since: object) -> int:
        sent = self._lake.read(BRONZE).where((F.col("source") == "replay") & (F.col("ingested_at") >= F.lit(since)))
        rows = self._lake.read(table).where(F.col("ingested_at") >= F.lit(since))
        return rows.join(F.broadcast(sent.select("record_id")), "record_id", "left_semi").count()


_ARRIVED = {"silver": COMPLAINTS, "duplicates": DUPLICATES}
