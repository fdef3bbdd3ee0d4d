"""What silver knows of each complaint, in memory: enough to tell what a row that comes again brings.

A complaint is kept as the hashes of its current intake, narrative and outcome fields: about 110 bytes. So a batch is
compared with complaints of any age without reading a table, and its cost does not depend on theirs. Rows of a complaint
are compared in the order of their arrival, each with what was known before it, so the result does not depend on where
one batch ends and the next begins.

Hashes of fields have 31 bits; 0 stands for a missing value. A changed field goes unnoticed once in 2 billion times.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from silver.fields import INTAKE
from silver.outcomes import REPORTED

COMPARED = tuple(field.name for field in INTAKE if field.name not in {"complaint_id", "narrative"})
ANSWER = REPORTED.index("company_response")
ENTRY = np.dtype(
    [
        ("received", "i4"),  # days since 1970
        ("intake", "i4", (len(COMPARED),)),
        ("narrative", "i8"),
        ("version", "i4"),  # of the intake: 1, and one more with each revision
        ("revised_at", "i8"),  # when this version arrived, in microseconds
        ("outcome", "i4", (len(REPORTED),)),
        ("is_final", "?"),
        ("in_progress", "?"),
        ("reported_at", "i8"),  # microseconds
    ]
)
ORDER = ["complaint_id", "arrived_at", "file", "partition", "offset", "record_id"]
MERGED_ENTRIES = 50_000  # new complaints are kept apart up to this number: sorting them in costs time

Destination = Literal["complaints", "duplicates", "quarantine"]
Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Written:
    """Which rows of a batch are in silver already, by record_id.

    Attributes:
        places: the table that has the row: complaints, duplicates or quarantine.
        narratives: rows whose narrative is in silver.narratives.
        revisions: rows that are in silver.revisions, with their version.
        reports: rows that are in silver.outcome_reports.
    """

    places: Mapping[str, Destination] = field(default_factory=dict)
    narratives: AbstractSet[str] = frozenset()
    revisions: Mapping[str, int] = field(default_factory=dict)
    reports: AbstractSet[str] = frozenset()


NOTHING_WRITTEN = Written()


@dataclass
class Verdict:
    """Where one row goes that repeats a complaint or is in silver already, and what it brings.

    Attributes:
        record_id: the row.
        destination: complaints, duplicates or quarantine.
        is_placed: whether it is there already.
        kind: for duplicates: unchanged, outcome, narrative or revised.
        changed: the changed intake fields, as bits in the order of `COMPARED`, then the narrative.
        version: the version of the complaint's intake once this row is known.
        is_complete: whether it reports every intake field that is known of the complaint.
        brings_revision: whether it is to be written to silver.revisions.
        brings_narrative: whether its narrative is to be written to silver.narratives.
        brings_outcome: whether it is to be written to silver.outcome_reports.
        received: the complaint's date of receipt in silver, in days since 1970.
    """

    record_id: str
    destination: Destination
    is_placed: bool = False
    kind: str | None = None
    changed: int = 0
    version: int = 1
    is_complete: bool = True
    brings_revision: bool = False
    brings_narrative: bool = False
    brings_outcome: bool = False
    received: int = 0


class KnownComplaints:
    """The complaints in silver, by id. Memory grows with their number: about 110 bytes each."""

    def __init__(self) -> None:
        self._entries = np.zeros(1024, ENTRY)
        self._count = 0
        none = np.zeros(0, np.int64)
        self._ids, self._rows = none, none  # sorted by id: the row of each complaint in `_entries`
        self._new_ids, self._new_rows = none, none  # likewise, of the newest

    def __len__(self) -> int:
        return self._count

    @classmethod
    def stored(
        cls, complaints: pa.Table, narratives: pa.Table, revisions: pa.Table, reports: pa.Table, outcomes: pa.Table
    ) -> Self:
        """Return the complaints that silver holds.

        Args:
            complaints: `silver.keys.complaint_keys` of silver.complaints.
            narratives: `silver.keys.narrative_keys` of silver.narratives.
            revisions: `silver.keys.revision_keys` of silver.revisions.
            reports: `silver.keys.report_keys` of silver.outcome_reports.
            outcomes: `silver.keys.report_keys` of silver.outcomes; used for complaints that have no report.
        """
        known = cls()
        unreported = ~np.isin(_array(outcomes, "complaint_id"), _array(reports, "complaint_id"))
        known.include(complaints, narratives, revisions, outcomes.filter(unreported))
        known._merge_reports(reports)
        return known

    def include(self, complaints: pa.Table, narratives: pa.Table, revisions: pa.Table, reports: pa.Table) -> None:
        """Add complaints that are not known yet, and narratives, revisions and reports of known ones."""
        ids, entries = _array(complaints, "complaint_id"), entries_of(complaints)
        is_new = self.rows_of(ids) < 0
        self.add(ids[is_new], entries[is_new])
        rows = self.rows_of(_array(narratives, "complaint_id"))
        self._entries["narrative"][rows[rows >= 0]] = _array(narratives, "narrative")[rows >= 0]
        self._apply_revisions(revisions)
        self._merge_reports(reports)

    def _apply_revisions(self, revisions: pa.Table) -> None:
        """Apply each complaint's revisions, in the order of their versions."""
        rows, entries = self.rows_of(_array(revisions, "complaint_id")), entries_of(revisions)
        for at in np.argsort(entries["version"], kind="stable"):
            if rows[at] >= 0:
                _revise(self._entries[rows[at] : rows[at] + 1], entries[at : at + 1], int(entries["version"][at]))

    @property
    def content(self) -> tuple[Ids, npt.NDArray[Any]]:
        """The ids in ascending order, and their entries."""
        ids, rows = _merged(self._ids, self._rows, self._new_ids, self._new_rows)
        return ids, self._entries[rows]

    def _merge_reports(self, reports: pa.Table) -> None:
        """Merge each complaint's reports, in the order of their arrival."""
        rows = self.rows_of(_array(reports, "complaint_id"))
        entries, arrived_at = entries_of(reports), _array(reports, "arrived_at")
        _, first, counts = np.unique(rows, return_index=True, return_counts=True)
        once = first[(counts == 1) & (rows[first] >= 0)]
        once = once[~self._entries["outcome"][rows[once]].any(axis=1)]
        for name in ("outcome", "is_final", "in_progress", "reported_at"):
            self._entries[name][rows[once]] = entries[name][once]
        is_merged = np.zeros(len(rows), bool)
        is_merged[once] = True
        several = np.flatnonzero((rows >= 0) & ~is_merged)
        for at in _in_order(reports, several):
            row = rows[at]
            _merge_outcome(self._entries[row : row + 1], entries[at : at + 1], int(arrived_at[at]))

    def rows_of(self, ids: Ids) -> Rows:
        """Return the row of each id in `_entries`, -1 if it is unknown."""
        found = _lookup(self._ids, self._rows, ids)
        return np.where(found >= 0, found, _lookup(self._new_ids, self._new_rows, ids))

    def add(self, ids: Ids, entries: npt.NDArray[Any]) -> None:
        """Add complaints that are not known yet, each once."""
        end = self._count + len(ids)
        if end > len(self._entries):
            grown = np.zeros(max(end, len(self._entries) * 5 // 4), ENTRY)
            grown[: self._count] = self._entries[: self._count]
            self._entries = grown
        self._entries[self._count : end] = entries
        rows = np.arange(self._count, end)
        self._count = end
        self._new_ids, self._new_rows = _merged(self._new_ids, self._new_rows, ids, rows)
        if len(self._new_ids) > MERGED_ENTRIES:
            self._ids, self._rows = _merged(self._ids, self._rows, self._new_ids, self._new_rows)
            self._new_ids, self._new_rows = self._new_ids[:0], self._new_rows[:0]

    def unchanged(self, keys: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether each row, with the columns of `silver.keys.keys`, reports only what is known; remembers nothing."""
        batch = _Batch(keys, NOTHING_WRITTEN)
        rows = self.rows_of(batch.ids)
        return batch.are_in(self._entries[rows]) & (rows >= 0)

    def judge(self, keys: pa.Table, written: Written = NOTHING_WRITTEN) -> list[Verdict]:
        """Compare a batch with what is known, and remember what it brings.

        Args:
            keys: the batch's rows, with the columns of `silver.keys.keys`.
            written: which of them silver has already.

        Returns:
            A verdict on each row that is not simply new, refused or a narrative without a complaint, and on each new
            one that silver has a part of.
        """
        batch = _Batch(keys, written)
        rows = self.rows_of(batch.ids)
        _, inverse, counts = np.unique(batch.ids, return_inverse=True, return_counts=True)
        is_plain = batch.is_usable & (rows < 0) & (counts[inverse] == 1)
        self.add(batch.ids[is_plain], batch.entries[is_plain])
        verdicts = [verdict for at in _places(is_plain & batch.is_written) if (verdict := batch.first(at))]
        is_same = (rows >= 0) & (counts[inverse] == 1) & batch.are_in(self._entries[rows])
        verdicts += [batch.repeat(at, int(self._entries["received"][rows[at]]), "unchanged") for at in _places(is_same)]
        compared = np.flatnonzero((batch.is_usable | batch.is_bare) & ~is_plain & ~is_same)
        for complaint_id, group in groupby(_in_order(keys, compared), key=lambda at: int(batch.ids[at])):
            verdicts += self._judge_complaint(batch, complaint_id, list(group))
        refused = _places(~(batch.is_usable | batch.is_bare) & batch.is_placed)
        return [*verdicts, *(Verdict(batch.record_ids[at], "quarantine", is_placed=True) for at in refused)]

    def _judge_complaint(self, batch: "_Batch", complaint_id: int, group: list[int]) -> list[Verdict]:
        """Judge the rows of one complaint, in order of arrival."""
        verdicts: list[Verdict] = []
        row = int(self.rows_of(np.array([complaint_id]))[0])
        if row < 0:
            first = next((at for at in group if batch.places[at] == "complaints"), None)
            first = next((at for at in group if batch.is_usable[at]), None) if first is None else first
            if first is None:
                return [batch.repeat(at, 0, "narrative") for at in group if batch.is_placed[at]]
            self.add(batch.ids[[first]], batch.entries[[first]])
            row = self._count - 1
            group.remove(first)
            if verdict := batch.first(first):
                verdicts.append(verdict)
        entry = self._entries[row : row + 1]
        return [*verdicts, *(batch.compared(at, entry) for at in group)]


class _Batch:
    """The rows of one batch, as arrays."""

    def __init__(self, keys: pa.Table, written: Written) -> None:
        self._written = written
        self.record_ids: list[str] = keys["record_id"].to_pylist()
        self.ids = _array(keys, "complaint_id")
        self.entries = entries_of(keys)
        self.is_bare = _array(keys, "is_bare")
        self.is_usable = _array(keys, "is_usable")
        self._arrived_at = _array(keys, "arrived_at")
        self.places = [written.places.get(record) for record in self.record_ids]
        self.is_placed = np.array([place is not None for place in self.places], bool)
        self.is_written = self.is_placed | np.array([record in written.reports for record in self.record_ids], bool)
        if written.places:  # whatever the rules say now
            is_refused = np.array([place == "quarantine" for place in self.places], bool)
            self.is_usable = (self.is_usable | (self.is_placed & ~self.is_bare)) & ~is_refused
            self.is_bare = self.is_bare & ~is_refused

    def are_in(self, known: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Whether each row is usable or a narrative, and says nothing that is not in the known entry."""
        mine = self.entries
        is_same: npt.NDArray[np.bool_] = self.is_usable | self.is_bare
        is_same &= (mine["narrative"] == 0) | (mine["narrative"] == known["narrative"])
        for name in ("intake", "outcome"):
            is_same &= ((mine[name] == 0) | (mine[name] == known[name])).all(axis=1)
        return is_same

    def repeat(self, at: int, received: int, kind: str) -> Verdict:
        """Return the verdict on a row of a known complaint that brings nothing."""
        place = self.places[at]
        is_placed = place is not None
        return Verdict(self.record_ids[at], place or "duplicates", is_placed, kind, received=received)

    def first(self, at: int) -> Verdict | None:
        """Return the verdict on the first row of a complaint: None if silver has nothing of it yet."""
        if not self.is_written[at]:
            return None
        record, entry = self.record_ids[at], self.entries[at]
        is_placed = self.places[at] is not None
        brings = bool(entry["outcome"].any()) and record not in self._written.reports
        return Verdict(record, "complaints", is_placed, brings_outcome=brings, received=int(entry["received"]))

    def compared(self, at: int, known: npt.NDArray[Any]) -> Verdict:
        """Compare a row with what is known of its complaint, and add to it what the row brings."""
        record, entry = self.record_ids[at], self.entries[at : at + 1]
        mine, before = entry["intake"][0], known["intake"][0]
        changed = (mine != 0) & (mine != before)
        bits = sum(1 << int(bit) for bit in np.flatnonzero(changed))
        text, known_text = int(entry["narrative"][0]), int(known["narrative"][0])
        brings_narrative = text != 0 and known_text == 0
        if text not in (0, known_text) and not brings_narrative:
            bits |= 1 << len(COMPARED)
        is_complete = not ((before != 0) & (mine == 0)).any() and (text != 0 or known_text == 0)
        if brings_narrative:
            known["narrative"] = text
        brings_revision = bool(bits) and self._revise(at, known)
        brings_outcome = _merge_outcome(known, entry, int(self._arrived_at[at]))
        if bits:
            kind = "revised"
        elif brings_narrative:
            kind = "narrative"
        else:
            kind = "outcome" if brings_outcome else "unchanged"
        verdict = self.repeat(at, int(known["received"][0]), kind)
        verdict.changed = bits
        verdict.version, verdict.is_complete = int(known["version"][0]), is_complete
        verdict.brings_revision = brings_revision
        verdict.brings_narrative = brings_narrative and record not in self._written.narratives
        verdict.brings_outcome = brings_outcome and record not in self._written.reports
        return verdict

    def _revise(self, at: int, known: npt.NDArray[Any]) -> bool:
        """Make a row's intake the known one unless that is newer; return whether silver.revisions lacks the row."""
        entry, version = self.entries[at : at + 1], int(known["version"][0])
        stored = self._written.revisions.get(self.record_ids[at])
        if stored is not None:
            if stored > version:
                _revise(known, entry, stored)
            return False
        is_first = self.places[at] == "complaints"  # read again, when a later version is known
        if is_first or self._arrived_at[at] < known["revised_at"][0]:
            return False
        _revise(known, entry, version + 1)
        return True


def _revise(known: npt.NDArray[Any], entry: npt.NDArray[Any], version: int) -> None:
    """Make the reported fields of an intake the known ones."""
    for name in ("intake", "narrative"):
        known[name] = np.where(entry[name] != 0, entry[name], known[name])
    known["version"], known["revised_at"] = version, entry["revised_at"]


def _in_order(keys: pa.Table, which: Rows) -> list[int]:
    """Return these rows ordered by complaint, and within it by arrival, file, partition and offset."""
    if not len(which):
        return []
    rows = keys.select(ORDER).take(pa.array(which))
    order = compute.sort_indices(rows, [(name, "ascending") for name in ORDER])
    return [int(at) for at in which[order.to_numpy()]]


def _merge_outcome(known: npt.NDArray[Any], entry: npt.NDArray[Any], arrived_at: int) -> bool:
    """Merge a reported outcome into the known one, as `silver.outcomes.latest_outcomes` does; whether it changed."""
    reported, before = entry["outcome"][0], known["outcome"][0]
    ends_it = entry["is_final"][0] and known["in_progress"][0]
    is_stale = entry["in_progress"][0] and known["is_final"][0]
    is_fresh = (arrived_at >= known["reported_at"][0] or ends_it) and not is_stale
    news = (reported != 0) & ((before == 0) | (is_fresh & (reported != before)))
    if not news.any():
        return False
    known["outcome"] = np.where(news, reported, before)
    if news[ANSWER]:
        known["is_final"], known["in_progress"] = entry["is_final"], entry["in_progress"]
    known["reported_at"] = np.maximum(known["reported_at"], arrived_at)
    return True


def _array(keys: pa.Table, name: str) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = keys[name].to_numpy()
    return found


def _places(which: npt.NDArray[np.bool_]) -> list[int]:
    return [int(at) for at in np.flatnonzero(which)]


def entries_of(keys: pa.Table) -> npt.NDArray[Any]:
    """Return the columns that `ENTRY` has as entries; those that the keys lack are 0."""
    entries = np.zeros(keys.num_rows, ENTRY)
    for name in keys.column_names:
        if name in ("intake", "outcome"):
            flat = keys[name].combine_chunks().flatten()
            entries[name] = flat.to_numpy(zero_copy_only=False).reshape(entries[name].shape)
        elif name in entries.dtype.names:
            entries[name] = _array(keys, name)
    if "intake" in keys.column_names:
        entries["revised_at"] = _array(keys, "arrived_at")
        if "version" not in keys.column_names:
            entries["version"] = 1
    if "outcome" in keys.column_names:
        has_outcome = entries["outcome"].any(axis=1)
        entries["reported_at"] = np.where(has_outcome, _array(keys, "arrived_at"), 0)
    return entries


def _lookup(ids: Ids, rows: Rows, wanted: Ids) -> Rows:
    if not len(ids):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, rows[at], -1)


def _merged(ids: Ids, rows: Rows, more_ids: Ids, more_rows: Rows) -> tuple[Ids, Rows]:
    both = np.concatenate([ids, more_ids])
    order = np.argsort(both, kind="stable")  # a merge, because the first part is sorted
    return both[order], np.concatenate([rows, more_rows])[order]
