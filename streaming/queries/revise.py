"""The revise query: silver.revisions to gold.decisions, off the hot path; also published to Kafka.

A complaint whose intake was revised is scored and decided again. The new decision says which one it replaces, so it is
made once that one is there. Grain: one complaint per batch, with its latest version.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.decisions import replacing
from gold.tables import DECISIONS, REPLACED
from lakehouse.spark.arrow import arrow, frame
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import stamped
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver.revisions import completed, without_narrative
from silver.tables import COMPLAINTS, NARRATIVES, REVISIONS
from streaming.queries.score import Publishing, messages, publish

KEYS = ["complaint_id", "version", "record_id", "is_complete", "has_narrative"]  # of a revision
FIRST_REVISION = 2  # version: no other revision of the complaint is before it
LISTED = 1_000  # complaints that a filter lists; more are joined


@dataclass(frozen=True)
class Version:
    """One version of a complaint's intake: the row that reported it, and whether that reports all that is known."""

    version: int
    record_id: str
    has_narrative: bool
    is_complete: bool = True


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
        self._publishing = publishing
        self._on_undecided = on_undecided
        self._messages = planned(messages, lake.settings)
        # Planned one by one: scoring, which is the longest, has one input and no shuffle.
        self._whole = planned(_whole, lake.settings)
        self._scored = planned(scoring, lake.settings)
        self._replacing = planned(replacing, lake.settings)

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
                    self._publish(again.transform(_of(own)))
                # Neither this version nor a later one: an earlier version that was left out for a later one in its
                # batch stays left out, also when batches are cut otherwise after a checkpoint was moved away.
                missing = {
                    complaint: each
                    for complaint, each in latest.items()
                    if complaint not in decided or decided[complaint].version < each.version
                }
                if missing:
                    known, decided = self._once_decided(missing, stored, decided)
                    replaced = {complaint: decided[complaint] for complaint in missing}
                    earlier = known.transform(_of([each.record_id for each in replaced.values()]))
                    versions = self._versions(missing, replaced, batch.sparkSession)
                    self._decide(revisions, missing, earlier, versions, batch_id)

    def _decide(
        self,
        revisions: DataFrame,
        missing: dict[int, Version],
        earlier: DataFrame,
        versions: Sequence[DataFrame],
        batch_id: int,
    ) -> None:
        keys: dict[str, Sequence[int | str]] = {
            "record_id": [each.record_id for each in missing.values()],
            "complaint_id": list(missing),
            "version": [each.version for each in missing.values()],
        }
        wanted = frame(keys, "record_id string, complaint_id bigint, version int", revisions.sparkSession)
        decided = self._replacing(self._scored(self._whole(revisions, wanted, *versions)), earlier)
        made = stamped(decided, "scored_at").withColumn("batch_id", F.lit(None).cast("bigint"))
        with held(made.select(DECISIONS.column_names)) as decisions:
            self._lake.append(decisions, DECISIONS, self._guard.mark(batch_id))
            self._publish(decisions)

    def _decisions(self, complaints: Collection[int], spark: SparkSession) -> DataFrame:
        """Return what a later decision keeps of these complaints' decisions."""
        return self._near(DECISIONS, complaints, spark).select("complaint_id", *REPLACED)

    def _once_decided(
        self, missing: dict[int, Version], stored: DataFrame, decided: dict[int, Version]
    ) -> tuple[DataFrame, dict[int, Version]]:
        """Return `_decisions` and the latest on each complaint, once each has one."""
        while undecided := len(missing.keys() - decided.keys()):
            self._on_undecided(undecided)
            stored = self._decisions(missing, stored.sparkSession)
            decided = _decided(stored)
        return stored, decided

    def _versions(
        self, missing: dict[int, Version], replaced: dict[int, Version], spark: SparkSession
    ) -> list[DataFrame]:
        """Return the versions of these complaints, for `completed`; nothing if each revision reports all there is."""
        partial = [complaint for complaint, each in missing.items() if not each.is_complete]
        if not partial:
            return []
        complaints = self._near(COMPLAINTS, missing, spark)
        # A decision says whether there was a narrative.
        if not any(replaced[complaint].has_narrative > missing[complaint].has_narrative for complaint in partial):
            complaints = complaints.transform(without_narrative)
        without_text = [complaint for complaint in partial if not missing[complaint].has_narrative]
        has_more = any(each.version > FIRST_REVISION for each in missing.values())
        if not (without_text or has_more):
            return [complaints]
        narratives = self._near(NARRATIVES, without_text or missing, spark)
        return [complaints, narratives, *([self._near(REVISIONS, missing, spark)] if has_more else [])]

    def _near(self, table: Table, complaints: Collection[int], spark: SparkSession) -> DataFrame:
        """Return the table's rows of these complaints; statistics skip files, and pages for a few complaints."""
        rows = self._lake.read(table, spark=spark)
        if len(complaints) <= LISTED:  # read in one task, which leaves a core to other queries
            return rows.where(F.expr(f"complaint_id IN ({', '.join(map(str, complaints))})")).coalesce(1)
        near = rows.where(F.col("complaint_id").between(min(complaints), max(complaints)))
        own = frame({"complaint_id": list(complaints)}, "complaint_id bigint", spark)
        return near.join(F.broadcast(own), "complaint_id", "left_semi")

    def _publish(self, decisions: DataFrame) -> None:
        if self._publishing is not None:
            publish(decisions.transform(self._messages), self._publishing)


def _whole(revisions: DataFrame, wanted: DataFrame, *versions: DataFrame) -> DataFrame:
    """Return the wanted revisions with the columns of silver.complaints and `version`; see `completed`."""
    if versions:
        return completed(revisions, wanted, *versions)
    own = F.broadcast(wanted.select("record_id"))
    return revisions.join(own, "record_id", "left_semi").select(*COMPLAINTS.column_names, "version")


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
    has_narrative = (F.col("scored_with") == "text").alias("has_narrative")
    return _latest(arrow(decisions.select("complaint_id", version, "record_id", has_narrative)))  # bounded: ids


def _of(records: Collection[str]) -> Step:
    """Return the step to the rows of these records."""

    def own(rows: DataFrame) -> DataFrame:
        wanted = frame({"record_id": records}, "record_id string", rows.sparkSession)
        return rows.join(F.broadcast(wanted), "record_id", "left_semi")

    return own
