"""What silver has already: which rows of a batch it holds, and what it knows of each complaint.

A bronze row is in exactly one of silver.complaints, silver.duplicates and silver.quarantine. When a batch was killed
midway, or is replayed from an older checkpoint, rows already written stay as they are, even if the rules have changed
since; only the other rows are routed. The rows in the tables decide whether a row was written, not a commit's mark.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce

import pyarrow as pa
from pyarrow import compute
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.spark.arrow import arrow, frame
from lakehouse.step import Step
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver.keys import complaint_keys, narrative_keys, report_keys, revision_keys
from silver.known_complaints import KnownComplaints, Written
from silver.routing import PLACES
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOME_REPORTS, OUTCOMES, PLACE, REVISIONS
from streaming.queries import known_snapshot
from streaming.queries.known_snapshot import GROWTH, LEAST_COMPLAINTS, Snapshot

READ = (COMPLAINTS, NARRATIVES, REVISIONS, OUTCOME_REPORTS)  # what is known of complaints comes from these


class StoredRows:
    """Reads silver for the refine query: at its start, and for rows that are read again."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._landed_until: int | None = None  # microseconds; rows that landed later are in no table
        self._rows = Counter[str]()  # by table; empty before they were counted
        self._saved = 0  # complaints in the last snapshot

    def may_have(self, found: pa.Table, spark: SparkSession) -> bool:
        """Whether silver may already have rows of a batch.

        That is whether a row landed no later than the newest one that silver had at the start. Only the first batch
        reads the tables; an empty silver has none.

        Args:
            found: the batch's `silver.keys.keys`.
            spark: the batch's session.
        """
        first = compute.min(found["ingested_at"]).as_py()
        if self._landed_until is None:
            if not any(self._count_rows(spark).values()):
                self._landed_until = first - 1
                return False
            since = F.col("ingested_at") >= F.timestamp_micros(F.lit(first))
            landed = self._union(
                PLACES.values(), lambda rows: rows.where(since).select(F.unix_micros("ingested_at").alias("at")), spark
            )
            last = landed.agg(F.max("at")).first()
            self._landed_until = max(first - 1, (last and last[0]) or 0)
            return True
        return bool(first <= self._landed_until)

    def _count_rows(self, spark: SparkSession) -> Counter[str]:
        """Return the number of rows of each table; Delta's log has it."""
        if not self._rows:
            tables = dict.fromkeys((*PLACES.values(), *READ))
            self._rows = Counter({table.name: self._read(table, spark).count() for table in tables})
        return self._rows

    def _union(self, tables: Iterable[Table], step: Step, spark: SparkSession) -> DataFrame:
        return reduce(DataFrame.unionByName, (self._read(table, spark).transform(step) for table in tables))

    def _read(self, table: Table, spark: SparkSession) -> DataFrame:
        return self._lake.read(table, spark=spark)

    def written(self, found: pa.Table, spark: SparkSession) -> Written:
        """Return which rows of a batch silver has, and in which table."""
        landed = compute.min_max(found["ingested_at"]).as_py()
        within = f"ingested_at BETWEEN timestamp_micros({landed['min']:d}) AND timestamp_micros({landed['max']:d})"
        own = _own(found, spark)

        def of_batch(rows: DataFrame, table: Table) -> DataFrame:
            mine = rows.join(F.broadcast(own), "record_id", "left_semi")
            version = F.col("version") if table is REVISIONS else F.lit(None).cast("int").alias("version")
            return mine.select("record_id", F.lit(table.name).alias("table"), version)

        parts = [of_batch(self._read(table, spark).where(within), table) for table in PLACES.values()]
        parts += [of_batch(self._read(table, spark), table) for table in (NARRATIVES, REVISIONS, OUTCOME_REPORTS)]
        rows = arrow(reduce(DataFrame.unionByName, parts)).to_pylist()
        by: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            by[row["table"]][row["record_id"]] = row["version"]
        places = {record: place for place, table in PLACES.items() for record in by[table.name]}
        narratives, reports = by[NARRATIVES.name].keys(), by[OUTCOME_REPORTS.name].keys()
        return Written(places, narratives=narratives, revisions=by[REVISIONS.name], reports=reports)

    def known(self, found: pa.Table, written: Written, spark: SparkSession) -> KnownComplaints:
        """Return what silver knows of each complaint, apart from what it has from this batch.

        Args:
            found: the batch's `silver.keys.keys`.
            written: which of its rows silver has already.
            spark: the batch's session.
        """
        own = F.broadcast(_own(found, spark))
        own_rows = {
            COMPLAINTS: sum(place == "complaints" for place in written.places.values()),
            NARRATIVES: len(written.narratives),
            REVISIONS: len(written.revisions),
            OUTCOME_REPORTS: len(written.reports),
        }
        rows = self._count_rows(spark)
        others = {table.name: rows[table.name] - number for table, number in own_rows.items()}
        snapshot = known_snapshot.load(self._lake.settings)
        known = None if snapshot is None else self._since(snapshot, own, others, spark)
        if known is None:
            known = KnownComplaints.stored(*self._keys(own, spark), self._reports(OUTCOMES, own, spark))
        self._saved = 0 if snapshot is None else len(snapshot.known)
        return known

    def _since(
        self, snapshot: Snapshot, own: DataFrame, rows: Mapping[str, int], spark: SparkSession
    ) -> KnownComplaints | None:
        """Return the snapshot and what was refined later; None if that is not all of silver."""
        later = self._keys(own, spark, snapshot.refined_at)
        found = zip(READ, later, strict=True)
        if any(snapshot.rows.get(table.name, 0) + keys.num_rows != rows[table.name] for table, keys in found):
            return None
        snapshot.known.include(*later)
        return snapshot.known if len(snapshot.known) == rows[COMPLAINTS.name] else None

    def _keys(
        self, own: DataFrame, spark: SparkSession, since: int | None = None
    ) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
        """Return the keys of the tables `READ`, of what was refined after a time.

        At the first start of a lake that is all of silver: ids and hashes, on the driver.
        """
        steps = {COMPLAINTS: complaint_keys, NARRATIVES: narrative_keys, REVISIONS: revision_keys}
        first = (arrow(step(self._others(table, own, spark, since))) for table, step in steps.items())
        complaints, narratives, revisions = first
        return complaints, narratives, revisions, self._reports(OUTCOME_REPORTS, own, spark, since)

    def _reports(self, table: Table, own: DataFrame, spark: SparkSession, since: int | None = None) -> pa.Table:
        rows = self._others(table, own, spark, since)
        if table is OUTCOMES:
            rows = rows.withColumns({column.name: F.lit(None).cast(column.type) for column in PLACE})
        return arrow(report_keys(rows))

    def _others(self, table: Table, own: DataFrame, spark: SparkSession, since: int | None) -> DataFrame:
        rows = self._read(table, spark).join(own, "record_id", "left_anti")
        at = "observed_at" if table in (OUTCOMES, OUTCOME_REPORTS) else "refined_at"
        return rows if since is None else rows.where(F.col(at) > F.timestamp_micros(F.lit(since)))

    def added(self, known: KnownComplaints, counts: Mapping[Table, int], refined_at: datetime) -> None:
        """Count the rows that a batch added, and save what is known when it has grown enough."""
        self._rows.update({table.name: number for table, number in counts.items()})
        if len(known) >= max(LEAST_COMPLAINTS, self._saved * GROWTH):
            micros = round(refined_at.timestamp() * 1_000_000)
            rows = {table.name: self._rows[table.name] for table in READ}
            known_snapshot.save(self._lake.settings, Snapshot(known, micros, rows))
            self._saved = len(known)


def _own(found: pa.Table, spark: SparkSession) -> DataFrame:
    return frame({"record_id": found["record_id"]}, "record_id string", spark)
