"""A person's complaint taken out of every layer, of quarantine, of time travel and of the published decisions.

Reads and changes all layers; writes bronze.erasures, a row for each row of bronze that goes. So
bronze = silver + quarantine + duplicates holds afterwards as before, and bronze and its erasures together have every
offset once. Killed at any point, the same erasure is finished by asking for it again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from gold.aggregates import GREATEST, INCREMENTS, KEYS
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.commits import find
from lakehouse.tables.declaration import Table
from lakehouse.tables.erasure import erase, forget
from lakehouse.tables.lake import Lake, open_lake, writer_lock
from ml.registry.registry import Registry
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOMES, QUARANTINE
from stewardship.erasure_proof import prove, words_of
from stewardship.leftovers import sweep
from stewardship.locations import destinations, erasures, records_of
from stewardship.trace import unknown
from streaming.batch.load import follow
from streaming.kafka.lake_kafka import kafka_of
from streaming.kafka.topics import client_config, unreachable
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.queries.summarise import replace_consolidated
from streaming.tables import TABLES

BY_NUMBER = (COMPLAINTS, NARRATIVES, OUTCOMES, DUPLICATES, DECISIONS)
BY_RECORD = (BRONZE, QUARANTINE)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Erased:
    """What an erasure did.

    Attributes:
        complaint_id: the complaint's number.
        rows: by table, the rows that are gone.
        records: the rows of bronze among them, by where they had gone.
        tombstone: whether Kafka was told to drop the decision; False where the lake never published.
        searched: files below the root that were searched for its words and its number afterwards, and hold neither.
        left: a sentence for each thing that still holds it and that the lake can't change, such as Kafka.
        seconds: from start to end, Spark's start included.
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
    """The rows of bronze that an erasure would take, those of one that was interrupted included.

    Raises:
        ComplaintsError: there is no lake or no such complaint, or it was erased.
    """
    begun = {row["record_id"] for row in erasures(settings, complaint_id) if row["erased_at"] is None}
    records = sorted(begun | set(records_of(settings, complaint_id)))
    if not records:
        raise unknown(settings, complaint_id)
    return records


def erase_complaint(settings: Settings, complaint_id: int, say: Say) -> Erased:
    """Erase a complaint.

    Whatever waits is refined, scored and published first: a query that still has to read a file finds it gone.

    Raises:
        ComplaintsError: a stream runs on the lake, there is no such complaint, Kafka can't be reached, or a query
            failed; nothing was erased then. Or a file still holds the complaint; then it isn't noted as erased.
    """
    if not settings.is_local:
        msg = "This command erases from a local lake only: docs/databricks.md says how it is done on a workspace."
        raise ComplaintsError(msg)
    began = time.monotonic()
    lock = writer_lock(settings)
    try:
        sweep(settings, words_of(settings, to_erase(settings, complaint_id)))
        with kafka_of(settings, say) as servers:
            say("Starting Spark.")
            lake = open_lake(lock, settings)
            lake.create(TABLES)
            _settle(lake, servers, say)
            erasing = _Erasing(lake, complaint_id)
            words = words_of(settings, sorted(erasing.records))
            rows = erasing.delete(say)
            if servers is not None:
                _bury(settings, servers, complaint_id)
            proof = prove(settings, complaint_id, words, say)
            erasing.confirm()
    finally:
        lock.release()
    told = (servers is not None, proof.searched, proof.left)
    return Erased(complaint_id, rows, erasing.records, *told, time.monotonic() - began)


def _settle(lake: Lake, servers: str | None, say: Say) -> None:
    """Let each query that has begun read all that is there, so that none needs an older file afterwards."""
    queries, done = Queries(lake), Trigger(until_done=True)
    say("Refining, scoring and summing up what waits.")
    follow(queries.refine(done), lambda _: None)
    if Path(lake.checkpoint("score")).is_dir():
        kafka = lake.settings.kafka
        publishing = servers and Publishing(kafka.predictions.name, spark_kafka_options(lake, servers))
        follow(queries.score(Registry(lake.settings).champion(), publishing or None, done), lambda _: None)
    if Path(lake.checkpoint("summarise")).is_dir():
        follow(queries.summarise(done), lambda _: None)


class _Erasing:
    """The steps of one erasure over a lake whose queries have read everything."""

    def __init__(self, lake: Lake, complaint_id: int) -> None:
        self._lake = lake
        self._id = complaint_id
        settings = lake.settings
        begun = [row for row in erasures(settings, complaint_id) if row["erased_at"] is None]
        self.records = {row["record_id"]: row["destination"] for row in begun}
        asked = begun[0]["asked_at"].replace(tzinfo=UTC) if begun else datetime.now(UTC)
        self._mark = f"erase-{complaint_id}:{asked:%Y%m%d%H%M%S%f}"
        self._note(asked, [record for record in records_of(settings, complaint_id) if record not in self.records])

    def _note(self, asked: datetime, records: list[str]) -> None:
        """Note what is to go before it goes, so that an erasure that was interrupted knows its rows."""
        went = destinations(self._lake.settings, records)
        if lost := sorted(set(records) - set(went)):
            msg = f"The row {lost[0]} of bronze was not refined, so nothing was erased: `complaints load` refines it."
            raise ComplaintsError(msg)
        rows = [
            {"record_id": record, "complaint_id": self._id, "destination": where, "asked_at": asked}
            for record, where in went.items()
        ]
        if rows:
            self._lake.append(self._lake.frame(rows, ERASURES), ERASURES, self._mark)
        self.records |= went

    def delete(self, say: Say) -> dict[str, int]:
        """Take the complaint out of the aggregates and the tables; gives the rows that went by table."""
        say("Deleting.")
        number, record = F.col("complaint_id") == self._id, F.col("record_id").isin(list(self.records))
        for table in INCREMENTS:
            self._subtract(table)
        conditions = {**dict.fromkeys(BY_NUMBER, number), **dict.fromkeys(BY_RECORD, record)}
        rows = {table.name: erase(self._lake, table, condition, self._mark) for table, condition in conditions.items()}
        say("Removing the files of older versions.")
        forget(self._lake, TABLES)  # all of them: what a killed writer left of a file can't be searched
        if left := records_of(self._lake.settings, self._id):
            msg = f"The row {left[0]} of the complaint {self._id} is still there: erase it again."
            raise ComplaintsError(msg)
        return rows

    def _subtract(self, table: Table) -> None:
        """Take the complaint's decision out of a table of sums, once; a row that counts nothing any more goes."""
        if find(self._lake, table, self._mark) is not None:
            return
        increments = self._lake.read(DECISIONS).where(F.col("complaint_id") == self._id).transform(INCREMENTS[table])
        keys = increments.select(*(F.col(key).cast("string") for key in KEYS[table])).first()
        if keys is None:
            return
        types = {field.name: field.dataType for field in table.schema}
        same = reduce(and_, (F.col(key) == F.lit(keys[key]).cast(types[key]) for key in KEYS[table]))
        added_up = [name for name in table.column_names if name not in (*KEYS[table], *GREATEST)]
        taken = increments.withColumns({name: -F.col(name) for name in added_up})
        replace_consolidated(self._lake, table, same, self._mark, taken)

    def confirm(self) -> None:
        """Note that nothing is left."""
        mine = (F.col("complaint_id") == self._id) & F.col("erased_at").isNull()
        self._lake.delta(ERASURES).update(mine, {"erased_at": F.lit(datetime.now(UTC))})


def _bury(settings: Settings, servers: str, complaint_id: int) -> None:
    """Publish that there is no decision on the complaint any more: a message without value, on which Kafka compacts."""
    try:
        producer = KafkaProducer(**client_config(settings.kafka, servers))
        try:
            key = str(complaint_id).encode()
            producer.send(settings.kafka.predictions.name, key=key, value=None).get(timeout=30)
        finally:
            producer.close()
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(servers, error) from error
