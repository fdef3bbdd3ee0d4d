"""The revise query: silver.revisions to gold.decisions, off the hot path; also published to Kafka.

A complaint whose intake was revised is scored and decided again. The new decision says which one it replaces, so it is
made once that one is there. Grain: one complaint per batch, with its latest version.
"""

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.decisions import replacing
from gold.tables import DECISIONS, REPLACED
from lakehouse.spark.held import held
from lakehouse.spark.per_batch import stamped
from lakehouse.step import Step
from lakehouse.tables.commits import Guard
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver.latest import latest
from silver.revisions import completed
from silver.tables import COMPLAINTS, NARRATIVES, REVISIONS
from streaming.queries.score import Publishing, messages, publish


class ReviseBatch:
    """Decides one batch of revised complaints again; Spark calls it for each batch of the query.

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

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append and publish the decisions missing from the table; publish those already there again."""
        with held(batch.transform(latest("version"))) as revisions:
            if revisions.isEmpty():
                return
            with held(self._decided(revisions)) as decided:
                own = F.broadcast(revisions.select("record_id"))
                if not decided.join(own, "record_id", "left_semi").isEmpty():
                    self._publish(self._near(DECISIONS, revisions).join(own, "record_id", "left_semi"))
                with held(revisions.transform(_not_decided(decided))) as missing:
                    if not missing.isEmpty():
                        self._decide(missing, decided, batch_id)

    def _decide(self, revisions: DataFrame, decided: DataFrame, batch_id: int) -> None:
        with held(self._whole(revisions)) as complaints, held(self._earlier(revisions, decided)) as earlier:
            made = stamped(complaints.transform(self._scoring), "scored_at")
            made = made.withColumn("batch_id", F.lit(None).cast("bigint")).transform(replacing(earlier))
            with held(made.select(DECISIONS.column_names)) as decisions:
                self._lake.append(decisions, DECISIONS, self._guard.mark(batch_id))
                self._publish(decisions)

    def _decided(self, revisions: DataFrame) -> DataFrame:
        return self._near(DECISIONS, revisions).select("complaint_id", *REPLACED)

    def _earlier(self, revisions: DataFrame, decided: DataFrame) -> DataFrame:
        """Return the decisions on earlier versions, once each complaint has one."""
        while undecided := revisions.join(decided, "complaint_id", "left_anti").count():
            self._on_undecided(undecided)
            decided = self._decided(revisions)
        return decided

    def _whole(self, revisions: DataFrame) -> DataFrame:
        """Return the revisions as rows of silver.complaints with `version`; only incomplete ones read the tables."""
        columns = [*COMPLAINTS.column_names, "version"]
        incomplete = revisions.where("NOT is_complete")
        if incomplete.isEmpty():
            return revisions.select(columns)
        tables = (self._near(table, incomplete) for table in (COMPLAINTS, REVISIONS, NARRATIVES))
        whole = incomplete.transform(completed(*tables))
        return revisions.where("is_complete").select(columns).unionByName(whole)

    def _near(self, table: Table, revisions: DataFrame) -> DataFrame:
        """Return the table's rows of these complaints; file statistics skip files outside their range of ids."""
        range_ = revisions.agg(F.min("complaint_id").alias("low"), F.max("complaint_id").alias("high")).first()
        low, high = (0, -1) if range_ is None else (range_["low"], range_["high"])
        rows = self._lake.read(table, spark=revisions.sparkSession).where(F.col("complaint_id").between(low, high))
        return rows.join(F.broadcast(revisions.select("complaint_id")), "complaint_id", "left_semi")

    def _publish(self, decisions: DataFrame) -> None:
        if self._publishing is not None:
            publish(decisions.transform(messages), self._publishing)


def _not_decided(decided: DataFrame) -> Step:
    """Keep revisions of which neither their own version nor a later one is decided.

    An earlier version that was left out for a later one in its batch stays left out, also when batches are cut
    otherwise after a checkpoint was moved away.
    """
    known = decided.select("complaint_id", F.col("version").alias("_decided"))
    by = F.expr("_decided >= version")
    return lambda revisions: revisions.join(
        known, (revisions["complaint_id"] == known["complaint_id"]) & by, "left_anti"
    )
