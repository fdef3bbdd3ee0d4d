"""Compare a full export with silver: which rows say nothing new, and which complaints are missing from it.

Reads staged file records, silver.complaints, quarantine and withdrawals, and what is known of each complaint; writes
silver.withdrawals. Rows that say nothing new never reach bronze.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze.land import landed_from_files
from bronze.load import record_ids
from lakehouse.errors import ComplaintsError
from lakehouse.spark.arrow import arrow, frame
from lakehouse.spark.held import held
from lakehouse.step import Step
from lakehouse.tables.commits import mark
from lakehouse.tables.lake import Lake
from silver.keys import READ, keys
from silver.known_complaints import NOTHING_WRITTEN, KnownComplaints
from silver.repeated_rows import Hashes, RepeatedRows, States, payload_hashes
from silver.tables import COMPLAINTS, QUARANTINE, WITHDRAWALS
from silver.withdrawals import RETURNED, WITHDRAWN, changes, withdrawn
from streaming.batch import last_export
from streaming.queries.stored_rows import StoredRows

NOTHING = pa.table({"record_id": pa.array([], pa.string())})
Ids = npt.NDArray[np.int64]


def compared(refining: Step) -> Step:
    """Return the step from bronze rows to what is compared of them; features aren't, so they aren't computed."""
    return lambda bronze: bronze.transform(refining).select(*READ, "payload")


class FullExport:
    """One full export: compared part by part, then recorded (`bronze.load.Comparison`).

    Memory grows with the complaints in silver (see `silver.known_complaints`) and the rows of the export: some 60 bytes
    each.

    Args:
        lake: the lake; silver must have all of bronze.
        comparing: the step `compared`, planned once for all parts.
        on_rows: called with the number of rows compared so far.
    """

    def __init__(self, lake: Lake, comparing: Step, on_rows: Callable[[int], None]) -> None:
        self._lake = lake
        self._comparing = comparing
        self._on_rows = on_rows
        self._ids: list[Ids] = []
        self._newest = 0  # latest date of receipt, in days since 1970
        self._rows = 0
        self._before = last_export.load(lake.settings)
        self._repeated: list[RepeatedRows] = []  # what the next export is compared with
        self.counts = {WITHDRAWN: 0, RETURNED: 0}

    @cached_property
    def _known(self) -> KnownComplaints:
        return StoredRows(self._lake).known(NOTHING, NOTHING_WRITTEN, self._lake.spark)

    @cached_property
    def _states(self) -> States:
        return States(self._known)

    def unchanged(self, part: Path) -> pa.Array:
        """Return the record ids of a staged part's rows that say nothing new.

        Such a row reports nothing that isn't known of its complaint, or was refused before and still waits. A row that
        was in the last export, and whose complaint is as it was then, is not parsed again.
        """
        rest = part.with_name("rest.parquet")
        same, records, hashes = self._repeated_in(part, rest)
        if len(records):
            same.append(self._compared(rest, records, hashes))
        rest.unlink()
        self._on_rows(self._rows)
        return pa.concat_arrays(same)

    def _repeated_in(self, part: Path, rest: Path) -> tuple[list[pa.Array], pa.Array, Hashes]:
        """Find the rows of a part that repeat one of the last export, and write the others to a file of their own.

        Returns:
            The record ids of the repeated rows; those of the others, and the hashes of their payloads.
        """
        staged = pq.ParquetFile(part)
        same, others, hashes = [pa.array([], pa.string())], [pa.array([], pa.string())], [np.zeros(0, np.uint64)]
        with pq.ParquetWriter(rest, staged.schema_arrow) as writer:
            for group in range(staged.num_row_groups):  # one in memory at a time
                rows = staged.read_row_group(group)
                own, records = payload_hashes(rows["payload"]), record_ids(rows).combine_chunks()
                repeated, is_same = self._before.unchanged(own, self._states)
                self._repeated.append(repeated)
                self._note(repeated.ids, self._states.received(repeated.ids), len(own))
                same.append(records.filter(pa.array(is_same)))
                writer.write_table(rows.filter(pa.array(~is_same)))
                others.append(records.filter(pa.array(~is_same)))
                hashes.append(own[~is_same])
        return same, pa.concat_arrays(others), np.concatenate(hashes)

    def _note(self, ids: Ids, received: npt.NDArray[np.int32], rows: int) -> None:
        self._ids.append(np.unique(ids))
        self._newest = max(self._newest, int(received.max(initial=0)))
        self._rows += rows

    def _compared(self, rest: Path, records: pa.Array, hashes: Hashes) -> pa.Array:
        """Return the record ids of those of the rows that say nothing new; they are compared with silver."""
        bronze = self._lake.spark.read.parquet(str(rest)).transform(landed_from_files)
        # Held, or Spark's optimizer puts the expression of each field into every key that uses it: planning would take
        # minutes.
        with held(self._comparing(bronze)) as rows:
            found = arrow(rows.transform(keys))  # bounded: a part's ids, hashes and broken rules; no text
            is_known = self._known.unchanged(found)
            same = [found["record_id"].combine_chunks().filter(pa.array(is_known))]
            if (~is_known & ~found["is_usable"].to_numpy()).any():
                same.append(self._refused_before(rows))
        usable = found.filter(found["is_usable"])  # a refused row may have any date
        self._note(found["complaint_id"].to_numpy(), usable["received"].to_numpy(), 0)
        own = hashes[compute.index_in(usable["record_id"].cast(pa.string()), value_set=records).to_numpy()]
        self._repeated.append(RepeatedRows(own, usable["complaint_id"].to_numpy(), self._states.after(usable)))
        return pa.concat_arrays(same)

    def _refused_before(self, rows: DataFrame) -> pa.Array:
        waiting = self._lake.read(QUARANTINE).where("replayed_at IS NULL").select("payload").distinct()
        refused = rows.where("payload IS NOT NULL").join(waiting, "payload", "left_semi").select("record_id")
        found: pa.Array = arrow(refused)["record_id"].combine_chunks()  # bounded: ids of a part's refused rows
        return found.cast(pa.string())

    def check(self) -> None:
        """Reject a file that lacks too much of what silver has.

        Raises:
            ComplaintsError: more than `silver.most_withdrawn_share` of the complaints it should have are missing.
        """
        missing = self._missing().count()
        share, most = missing / max(1, self._expected().count()), self._lake.settings.silver.most_withdrawn_share
        if share > most:
            msg = (
                f"it has {self._rows:,} rows and lacks {missing:,} complaints that are here, {share:.1%} of those it "
                f"should have; a full export may lack {most:.1%} (silver.most_withdrawn_share): load it without "
                "--snapshot, or raise the setting"
            )
            raise ComplaintsError(msg)

    def _expected(self) -> DataFrame:
        """The complaints that the export should have: received until its newest day, if it has one; not generated."""
        received = self._lake.read(COMPLAINTS).where("is_synthetic IS NULL")
        if self._newest:
            received = received.where(F.col("date_received") <= F.date_from_unix_date(F.lit(self._newest)))
        gone = self._lake.read(WITHDRAWALS).transform(withdrawn).select("complaint_id")
        return received.join(gone, "complaint_id", "left_anti")

    def _missing(self) -> DataFrame:
        missing = self._frame(np.setdiff1d(self._states.ids, self._present()))
        return self._expected().join(missing, "complaint_id", "left_semi")

    def _present(self) -> Ids:
        return np.unique(np.concatenate(self._ids)) if self._ids else np.zeros(0, np.int64)

    def _frame(self, ids: Ids) -> DataFrame:
        return frame({"complaint_id": ids}, "complaint_id bigint", self._lake.spark)

    def record(self, sha256: str, file: str) -> None:
        """Append which complaints went missing or came back, unless that is recorded, and keep what the rows were."""
        gone = self._lake.read(WITHDRAWALS).transform(withdrawn)
        back = self._frame(np.intersect1d(self._states.ids, self._present()))
        returned = gone.join(back, "complaint_id", "left_semi")
        events = {WITHDRAWN: self._missing(), RETURNED: returned}
        with held(changes(events, sha256, file)) as rows:
            self.counts |= {row.change: row["count"] for row in rows.groupBy("change").count().collect()}  # bounded: 2
            if any(self.counts.values()):
                self._lake.append(rows, WITHDRAWALS, mark("load", sha256))
        last_export.save(self._lake.settings, RepeatedRows.of(self._repeated))
