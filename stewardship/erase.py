"""Erase a person's complaint from every layer, quarantine, time travel and the published decisions.

Reads and changes all layers; writes bronze.erasures, one row per deleted row of bronze. So
bronze = silver + quarantine + duplicates still holds afterwards, and bronze and its erasures together have every offset
once. If an erasure is interrupted, running it again completes it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from gold.aggregates import GREATEST, INCREMENTS, KEYS, consolidated
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.commits import find
from lakehouse.tables.declaration import Table
from lakehouse.tables.erasure import erase, forget
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from ml.registry.registry import Registry
from silver.tables import (
    COMPLAINTS,
    DUPLICATES,
    NARRATIVES,
    OUTCOME_REPORTS,
    OUTCOMES,
    QUARANTINE,
    REVISIONS,
    WITHDRAWALS,
)
from stewardship.erasure_proof import prove, words_of
from stewardship.leftovers import sweep
from stewardship.locations import destinations, erasures, records_of
from stewardship.trace import unknown
from streaming.batch.load import follow, refine
from streaming.kafka.lake_kafka import kafka_of
from streaming.kafka.topics import client_config, unreachable
from streaming.queries import known_snapshot
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.queries.summarise import replace_consolidated
from streaming.tables import TABLES

BY_NUMBER = (COMPLAINTS, REVISIONS, NARRATIVES, OUTCOME_REPORTS, OUTCOMES, WITHDRAWALS, DUPLICATES, DECISIONS)
BY_RECORD = (BRONZE, QUARANTINE)
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Erased:
    """Result of an erasure.

    Attributes:
        complaint_id: id of the complaint.
        rows: deleted rows by table.
        records: destination of each deleted row of bronze, by record_id.
        tombstone: whether a tombstone was published to Kafka; False if the lake never published.
        searched: files below the root that were searched afterwards and contain neither its words nor its id.
        left: one sentence per place that still holds it and that the lake can't change, such as Kafka.
        seconds: from start to end, including Spark's startup.
    """

    complaint_id: int
    rows: Mapping[str, int]
    records: Mapping[str, str]
    tombstone: bool
    searched: int
    left: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {**vars(self), "left": list(self.left), "seconds": round(self.seconds, 1)}


def to_erase(settings: Settings, complaint_id: int) -> list[str]:
    """Return the rows of bronze that an erasure would delete, including those of an interrupted one.

    Raises:
        ComplaintsError: there is no lake or no such complaint, or it was erased already.
    """
    pending = {row["record_id"] for row in erasures(settings, complaint_id) if row["erased_at"] is None}
    records = sorted(pending | set(records_of(settings, complaint_id)))
    if not records:
        raise unknown(settings, complaint_id)
    return records


def erase_complaint(settings: Settings, complaint_id: int, notify: Notify) -> Erased:
    """Erase a complaint.

    Pending rows are refined, scored and published first; otherwise a query could still need a deleted file.

    Raises:
        ComplaintsError: a stream runs on the lake, there is no such complaint, Kafka can't be reached, or a query
            failed; nothing was erased in these cases. Or a file still holds the complaint; then the erasure is not
            recorded as complete.
    """
    if not settings.platform.tables_are_files:
        msg = "This command erases from a local lake only: see docs/databricks.md for a workspace."
        raise ComplaintsError(msg)
    began = time.monotonic()
    lock = writer_lock(settings)
    try:
        sweep(settings, words_of(settings, to_erase(settings, complaint_id)))
        with kafka_of(settings, notify) as servers:
            notify("Starting Spark.")
            lake = open_lake(lock, settings)
            lake.create(TABLES)
            _drain_queries(lake, servers, notify)
            erasing = _Erasing(lake, complaint_id)
            words = words_of(settings, sorted(erasing.records))
            rows = erasing.delete(notify)
            if servers is not None:
                _publish_tombstone(settings, servers, complaint_id)
            proof = prove(settings, complaint_id, words, notify)
            erasing.confirm()
    finally:
        lock.release()
    found = (servers is not None, proof.searched, proof.left)
    return Erased(complaint_id, rows, erasing.records, *found, time.monotonic() - began)


def _drain_queries(lake: Lake, servers: str | None, notify: Notify) -> None:
    """Run each query that has ever started until it has read everything, so that none needs an older file."""
    queries, done = Queries(lake), Trigger(until_done=True)
    notify("Refining, scoring and summarizing pending rows.")
    refine(lake, lambda _: None)
    if Path(lake.checkpoint("score")).is_dir():
        kafka = lake.settings.kafka
        publishing = servers and Publishing(kafka.predictions.name, spark_kafka_options(lake, servers))
        model = Registry(lake.settings).champion()
        follow(queries.score(model, publishing or None, done), lambda _: None)
        follow(queries.revise(model, publishing or None, done), lambda _: None)
    if Path(lake.checkpoint("summarise")).is_dir():
        follow(queries.summarise(done), lambda _: None)


class _Erasing:
    """The steps of one erasure on a lake whose queries have read everything."""

    def __init__(self, lake: Lake, complaint_id: int) -> None:
        self._lake = lake
        self._id = complaint_id
        settings = lake.settings
        pending = [row for row in erasures(settings, complaint_id) if row["erased_at"] is None]
        self.records = {row["record_id"]: row["destination"] for row in pending}
        asked = pending[0]["asked_at"].replace(tzinfo=UTC) if pending else datetime.now(UTC)
        self._mark = f"erase-{complaint_id}:{asked:%Y%m%d%H%M%S%f}"
        self._record(asked, [record for record in records_of(settings, complaint_id) if record not in self.records])

    def _record(self, asked: datetime, records: list[str]) -> None:
        """Record the rows before deleting them, so that an interrupted erasure knows its rows."""
        targets = destinations(self._lake.settings, records)
        if lost := sorted(set(records) - set(targets)):
            msg = f"The row {lost[0]} of bronze was not refined, so nothing was erased: run `complaints load` first."
            raise ComplaintsError(msg)
        rows = [
            {"record_id": record, "complaint_id": self._id, "destination": where, "asked_at": asked}
            for record, where in targets.items()
        ]
        if rows:
            self._lake.append(self._lake.frame(rows, ERASURES), ERASURES, self._mark)
        self.records |= targets

    def delete(self, notify: Notify) -> dict[str, int]:
        """Delete the complaint from the aggregates and tables; return the number of deleted rows by table."""
        notify("Deleting.")
        number, record = F.col("complaint_id") == self._id, F.col("record_id").isin(list(self.records))
        for table in INCREMENTS:
            self._subtract(table)
        conditions = {**dict.fromkeys(BY_NUMBER, number), **dict.fromkeys(BY_RECORD, record)}
        rows = {table.name: erase(self._lake, table, condition, self._mark) for table, condition in conditions.items()}
        notify("Removing the files of older versions.")
        known_snapshot.remove(self._lake.settings)
        forget(self._lake, TABLES)  # all tables: incomplete files of a killed writer can't be searched
        if left := records_of(self._lake.settings, self._id):
            msg = f"The row {left[0]} of the complaint {self._id} still exists: erase it again."
            raise ComplaintsError(msg)
        return rows

    def _subtract(self, table: Table) -> None:
        """Subtract the complaint's last decision from an aggregate, once; rows whose counts become 0 are removed."""
        if find(self._lake, table, self._mark) is not None:
            return
        decisions = self._lake.read(DECISIONS).where(F.col("complaint_id") == self._id)
        increments = decisions.transform(INCREMENTS[table])
        types = {field.name: field.dataType for field in table.schema}
        # Spark refuses to overwrite by a Boolean column: rows that differ only there are combined and written as well.
        keys = [key for key in KEYS[table] if types[key] != BooleanType()]
        # bounded: one row per version of the complaint
        found = increments.select(*(F.col(key).cast("string") for key in keys)).distinct().collect()
        if not found:
            return
        same = reduce(
            or_,
            (reduce(and_, (F.col(key).eqNullSafe(F.lit(row[key]).cast(types[key])) for key in keys)) for row in found),
        )
        summed = [name for name in table.column_names if name not in (*KEYS[table], *GREATEST)]
        negated = increments.transform(consolidated, table).withColumns({name: -F.col(name) for name in summed})
        replace_consolidated(self._lake, table, same, self._mark, negated)

    def confirm(self) -> None:
        """Record that the erasure is complete."""
        mine = (F.col("complaint_id") == self._id) & F.col("erased_at").isNull()
        self._lake.delta(ERASURES).update(mine, {"erased_at": F.lit(datetime.now(UTC))})


def _publish_tombstone(settings: Settings, servers: str, complaint_id: int) -> None:
    """Publish a tombstone for the complaint's decision, so that Kafka's compaction removes it."""
    try:
        producer = KafkaProducer(**client_config(settings.kafka, servers))
        try:
            key = str(complaint_id).encode()
            producer.send(settings.kafka.predictions.name, key=key, value=None).get(timeout=30)
        finally:
            producer.close()
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings.kafka, servers, error) from error
