"""The revise query: silver.revisions to gold.decisions, off the hot path; also published to Kafka.

A complaint whose intake was revised is scored and decided again. The new decision says which one it replaces, so it is
made once that one is there. Grain: one complaint per batch, with its latest version.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.decisions import replacing
from gold.tables import DECISIONS, REPLACED
from lakehouse.spark.arrow import arrow
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import stamped
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver.revisions import completed
from silver.tables import COMPLAINTS, NARRATIVES, REVISIONS
from streaming.queries.score import Publishing, messages, publish

KEYS = ["complaint_id", "version", "record_id", "is_complete", "has_narrative"]  # of a revision
LISTED = 1_000  # complaints that a filter lists; more are joined


@dataclass(frozen=True)
class Version:
    """One version of a complaint's intake: the row that reported it, and whether that reports all that is known."""

    version: int
    record_id: str
    is_complete: bool = True
    has_narrative: bool = True


class ReviseBatch:
    """Decides one batch of revised complaints again; Spark calls it for each batch of the query.

    Versions are compared on the driver, by ids: joins with shuffles took most of the time of a batch.

    Args:
        lake: the lake.
        guard: marks the commits.
        scoring: the step from rows of silver.complaints to decisions (`Queries.scoring`).
        publishing: where decisions are published; None for not at all.
        on_undecided: called with the number of complaints whose earlier version has no decision yet, until they have
            one. It waits, or raises.
    """

    def __init__(
        self,
        lake: Lake,
        guard: Guard,
        scoring: Step,
        publishing: Publishing | None,
        on_undecided: Callable[[int], None],
    ) -> None:
        self._lake = lake
        self._guard = guard
        self._scoring = scoring
        self._publishing = publishing
        self._on_undecided = on_undecided
        self._messages = planned(messages, lake.settings)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append and publish the decisions missing from the table; publish those already there again."""
        with held(batch) as revisions:
            latest = _latest(arrow(revisions.select(KEYS)))  # bounded: ids
            if not latest:
                return
            with held(self._decisions(latest, batch.sparkSession)) as stored:
                decided = _decided(stored)
                records = {each.record_id for each in decided.values()}
                if own := [each.record_id for each in latest.values() if each.record_id in records]:
                    again = self._near(DECISIONS, latest, batch.sparkSession)
                    self._publish(again.join(_frame(own, batch.sparkSession), "record_id", "left_semi"))
                # Neither this version nor a later one: an earlier version that was left out for a later one in its
                # batch stays left out, also when batches are cut otherwise after a checkpoint was moved away.
                missing = {
                    complaint: each
                    for complaint, each in latest.items()
                    if complaint not in decided or decided[complaint].version < each.version
                }
                if missing:
                    self._decide(revisions, missing, self._earlier(missing, stored, decided), batch_id)

    def _decide(self, revisions: DataFrame, missing: dict[int, Version], earlier: DataFrame, batch_id: int) -> None:
        own = _frame([each.record_id for each in missing.values()], revisions.sparkSession)
        complaints = self._whole(revisions.join(own, "record_id", "left_semi"), missing)
        made = stamped(complaints.transform(self._scoring), "scored_at")
        made = made.withColumn("batch_id", F.lit(None).cast("bigint")).transform(replacing(earlier))
        with held(made.select(DECISIONS.column_names)) as decisions:
            self._lake.append(decisions, DECISIONS, self._guard.mark(batch_id))
            self._publish(decisions)

    def _decisions(self, complaints: Collection[int], spark: SparkSession) -> DataFrame:
        """Return what a later decision keeps of these complaints' decisions."""
        return self._near(DECISIONS, complaints, spark).select("complaint_id", *REPLACED)

    def _earlier(self, missing: dict[int, Version], stored: DataFrame, decided: dict[int, Version]) -> DataFrame:
        """Return the latest decision on each complaint, once each has one."""
        while undecided := len(missing.keys() - decided.keys()):
            self._on_undecided(undecided)
            stored = self._decisions(missing, stored.sparkSession)
            decided = _decided(stored)
        replaced = [decided[complaint].record_id for complaint in missing]
        return stored.join(_frame(replaced, stored.sparkSession), "record_id", "left_semi")

    def _whole(self, revisions: DataFrame, missing: dict[int, Version]) -> DataFrame:
        """Return the revisions as rows of silver.complaints with `version`; only incomplete ones read the tables."""
        whole = revisions.where("is_complete").select(*COMPLAINTS.column_names, "version")
        for has_narrative in (True, False):
            own = [c for c, each in missing.items() if not each.is_complete and each.has_narrative == has_narrative]
            if own:
                complaints, earlier, narratives = (
                    self._near(table, own, revisions.sparkSession) for table in (COMPLAINTS, REVISIONS, NARRATIVES)
                )
                step = completed(complaints, earlier, None if has_narrative else narratives)
                mine = revisions.where("NOT is_complete").where(F.col("has_narrative") == has_narrative)
                whole = whole.unionByName(mine.transform(step))
        return whole

    def _near(self, table: Table, complaints: Collection[int], spark: SparkSession) -> DataFrame:
        """Return the table's rows of these complaints; statistics skip files, and pages for a few complaints."""
        rows = self._lake.read(table, spark=spark)
        if len(complaints) <= LISTED:
            return rows.where(F.expr(f"complaint_id IN ({', '.join(map(str, complaints))})"))
        near = rows.where(F.col("complaint_id").between(min(complaints), max(complaints)))
        own = spark.createDataFrame(pa.table({"complaint_id": list(complaints)}).to_pandas(), "complaint_id bigint")
        return near.join(F.broadcast(own), "complaint_id", "left_semi")

    def _publish(self, decisions: DataFrame) -> None:
        if self._publishing is not None:
            publish(decisions.transform(self._messages), self._publishing)


def _latest(found: pa.Table) -> dict[int, Version]:
    """Return each complaint's latest version, by complaint id."""
    latest: dict[int, Version] = {}
    for row in found.to_pylist():
        complaint, each = row.pop("complaint_id"), Version(**row)
        if complaint not in latest or latest[complaint].version < each.version:
            latest[complaint] = each
    return latest


def _decided(decisions: DataFrame) -> dict[int, Version]:
    """Return the latest decided version of each complaint, by complaint id."""
    version = F.coalesce("version", F.lit(1)).alias("version")
    return _latest(arrow(decisions.select("complaint_id", version, "record_id")))  # bounded: ids


def _frame(records: Collection[str], spark: SparkSession) -> DataFrame:
    rows = spark.createDataFrame(pa.table({"record_id": list(records)}).to_pandas(), "record_id string")
    return F.broadcast(rows)
