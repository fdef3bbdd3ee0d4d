"""What a version learned from: stored with it, so that it is judged only on complaints that are new to it.

The record has digests of complaint ids and narratives, never a text.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ml.data.examples import feed
from ml.data.split import TEST, cuts_of, id_key, narrative_or_id

BYTES = 8  # of a digest: one of a million new complaints matches one of a million digests with a chance of 5e-8


class Record(ABC):
    """What a version learned from; each method takes complaints and returns those that the method names."""

    @abstractmethod
    def gap(self) -> str | None:
        """Return in one sentence which complaints can't be judged for want of a record; None when all can."""

    @abstractmethod
    def new(self, rows: DataFrame) -> DataFrame:
        """Return complaints that it was not fitted on, of their feed's test period or later.

        Reads `complaint_id`, `source` and `date_received`.
        """

    @abstractmethod
    def without_copies(self, rows: DataFrame) -> DataFrame:
        """Return complaints whose `narrative` is not a copy of one that it was fitted on."""

    @abstractmethod
    def fitted(self, rows: DataFrame) -> DataFrame:
        """Return complaints that it was fitted or calibrated on."""

    @abstractmethod
    def apart(self, rows: DataFrame) -> DataFrame:
        """Return complaints of another lake, of any period, that it was not fitted on, without copies."""

    def unseen(self, rows: DataFrame) -> DataFrame:
        """Return complaints to judge it on: `new` ones, `without_copies`."""
        return rows.transform(self.new).transform(self.without_copies)


@dataclass(frozen=True)
class Learned(Record):
    """The record of a version.

    Attributes:
        cuts: feed to the first day of its test set, or to its last day if it has none; empty for a random split.
        digests: concatenated digests of all complaints that training knew except its test set, and of the narratives
            that it was fitted on.
    """

    cuts: Mapping[str, date]
    digests: bytes

    def as_json(self) -> str:
        """Serialize the record for the registry."""
        return json.dumps({"cuts": {name: str(day) for name, day in self.cuts.items()}, "digests": self.digests.hex()})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Learned":
        """Parse the values of a record written by `as_json`."""
        cuts = {name: date.fromisoformat(day) for name, day in values["cuts"].items()}
        return cls(cuts, bytes.fromhex(values["digests"]))

    def gap(self) -> None:
        """Return None: every complaint can be judged."""

    def new(self, rows: DataFrame) -> DataFrame:
        """Return complaints that it was not fitted on, of their feed's test period or later."""
        days = json.dumps({name: str(day) for name, day in self.cuts.items()})
        cut = F.from_json(F.lit(days), "map<string,date>")[feed()]
        return self._absent(rows.where(cut.isNull() | (F.col("date_received") >= cut)), id_key())

    def without_copies(self, rows: DataFrame) -> DataFrame:
        """Return complaints whose `narrative` is not a copy of one that it was fitted on."""
        return self._absent(rows, narrative_or_id())

    def fitted(self, rows: DataFrame) -> DataFrame:
        """Return complaints that it was fitted or calibrated on; not the earlier copies that training left out."""
        return self._present(self._present(rows, id_key()), narrative_or_id())

    def apart(self, rows: DataFrame) -> DataFrame:
        """Return complaints of another lake that it was not fitted on, without copies."""
        return self._absent(rows, id_key()).transform(self.without_copies)

    def _absent(self, rows: DataFrame, key: Column) -> DataFrame:
        return rows.join(self._stored(rows), _digest(key) == F.col("_digest"), "left_anti")

    def _present(self, rows: DataFrame, key: Column) -> DataFrame:
        return rows.join(self._stored(rows), _digest(key) == F.col("_digest"), "left_semi")

    def _stored(self, rows: DataFrame) -> DataFrame:
        """The digests as a DataFrame; from one literal, since `createDataFrame` would start Python workers."""
        numbers = rows.sparkSession.range(0, len(self.digests) // BYTES, 1, numPartitions=1)
        start = (F.col("id") * BYTES + 1).cast("int")
        return numbers.select(F.lit(bytearray(self.digests)).substr(start, F.lit(BYTES)).alias("_digest"))


@dataclass(frozen=True)
class SplitRule(Record):
    """The record of a version made by an earlier version of this project: how it split, without the complaints.

    Attributes:
        since: file or topic to the first day of its test set; empty for a random split. One that is missing was fitted
            on whole, or came later: the record can't tell, so it counts as fitted.
    """

    since: Mapping[str, date]

    @classmethod
    def from_json(cls, text: str) -> "SplitRule":
        """Parse the rule that the earlier version stored."""
        return cls({source: date.fromisoformat(day) for source, day in json.loads(text)["since"].items()})

    def gap(self) -> str:
        """Return in one sentence which complaints can't be judged."""
        judged = "only later complaints of the files and topics that it was tested on are" if self.since else "none is"
        return (
            "it was trained by an earlier version of this project, which did not record the complaints that it was "
            f"fitted on, so {judged} judged; train again with `complaints train` to judge a version on all that is new "
            "to it."
        )

    def new(self, rows: DataFrame) -> DataFrame:
        """Return complaints of the test set, and later ones of the same files and topics."""
        return rows.where(self._held_out())

    def without_copies(self, rows: DataFrame) -> DataFrame:
        """Return all complaints: the record has no narratives."""
        return rows

    def fitted(self, rows: DataFrame) -> DataFrame:
        """Return complaints that are not `new`."""
        return rows.where(~self._held_out())

    def apart(self, rows: DataFrame) -> DataFrame:
        """Return all complaints: the record has no ids."""
        return rows

    def _held_out(self) -> Column:
        days = [F.when(F.col("source") == source, F.col("date_received") >= day) for source, day in self.since.items()]
        return F.coalesce(*days, F.lit(col=False))


def learned(known: DataFrame, parts: DataFrame, split: str) -> Learned:
    """Return the record of a training.

    Args:
        known: complaints with a known label, as they were before the split.
        parts: the same complaints from `ml.data.split.parted`.
        split: time or random.
    """
    tested = F.col("part") == TEST
    left = known.join(parts.where(tested), "complaint_id", "left_anti").select(id_key().alias("key"))
    digests = left.unionByName(parts.where(~tested).select("key")).select(F.hex(_digest(F.col("key"))).alias("digest"))
    by_start = digests.distinct().groupBy(F.substring("digest", 1, 2).alias("start"))
    joined = by_start.agg(F.array_join(F.sort_array(F.collect_list("digest")), "").alias("digests"))
    rows = joined.orderBy("start").collect()  # bounded: 256 rows, 16 characters per digest
    return Learned(cuts_of(parts) if split == "time" else {}, bytes.fromhex("".join(row.digests for row in rows)))


def _digest(text: Column) -> Column:
    return F.substring(F.unhex(F.sha2(text, 256)), 1, BYTES)
