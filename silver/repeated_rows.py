"""Rows of a full export that would give the same answer as the last time: they say nothing new.

Most rows of a full export are those of the day before, byte for byte. Of each row this keeps a hash of its payload, the
complaint's id, and a hash of what was known of the complaint once silver had the row. A row with the same payload says
nothing new while that is still what is known, so it need not be parsed. 24 bytes a row; no text.

A hash has 64 bits: of 3 million rows, one is taken for another at most once in 2 million exports.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from silver.known_complaints import KnownComplaints, entries_of

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a value is lost
_CHUNK = 100_000  # entries that are hashed at once, to bound memory


class States:
    """What is known of each complaint now, as a hash.

    Args:
        known: the complaints.
    """

    def __init__(self, known: KnownComplaints) -> None:
        self.ids, self._entries = known.content
        self._states = _states(self._entries)

    def of(self, ids: Ids) -> tuple[Hashes, npt.NDArray[np.bool_]]:
        """Return the state of each complaint, and whether it is known."""
        at, is_known = self._places(ids)
        return self._states[at] if len(self.ids) else np.zeros(len(ids), np.uint64), is_known

    def received(self, ids: Ids) -> npt.NDArray[np.int32]:
        """Return the days of receipt, since 1970, of those complaints that are known."""
        at, is_known = self._places(ids)
        found: npt.NDArray[np.int32] = self._entries["received"][at[is_known]]
        return found

    def after(self, keys: pa.Table) -> Hashes:
        """Return the state of each row's complaint once silver has the row (columns of `silver.keys.keys`)."""
        rows = entries_of(keys)
        at, is_known = self._places(keys["complaint_id"].to_numpy())
        for name in ("intake", "narrative", "outcome"):
            before = np.zeros_like(rows[name])
            before[is_known] = self._entries[name][at[is_known]]
            rows[name] = np.where(rows[name] != 0, rows[name], before)
        return _states(rows)

    def _places(self, ids: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        if not len(self.ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return at, self.ids[at] == ids


class RepeatedRows:
    """Rows of a full export, by the hashes of their payloads.

    Args:
        hashes: of the payloads, ascending.
        ids: the rows' complaints.
        states: what was known of them once silver had the row.
    """

    def __init__(self, hashes: Hashes, ids: Ids, states: Hashes) -> None:
        self.hashes, self.ids, self.states = hashes, ids, states

    @classmethod
    def none(cls) -> Self:
        """No rows."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint64))

    @classmethod
    def of(cls, parts: Sequence["RepeatedRows"]) -> Self:
        """The rows of several parts; of rows with the same payload one is kept."""
        if not parts:
            return cls.none()
        hashes, first = np.unique(np.concatenate([part.hashes for part in parts]), return_index=True)
        ids, states = (np.concatenate([getattr(part, name) for part in parts])[first] for name in ("ids", "states"))
        return cls(hashes, ids, states)

    def unchanged(self, hashes: Hashes, now: States) -> tuple["RepeatedRows", npt.NDArray[np.bool_]]:
        """Return those of the rows with these payloads that say nothing new, and which of the payloads are theirs."""
        if not len(self.hashes):
            return RepeatedRows.none(), np.zeros(len(hashes), bool)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        states, is_known = now.of(self.ids[at])
        is_same = (self.hashes[at] == hashes) & is_known & (states == self.states[at])
        same = at[is_same]
        return RepeatedRows(self.hashes[same], self.ids[same], self.states[same]), is_same


def payload_hashes(payloads: pa.ChunkedArray) -> Hashes:
    """Hash the payloads; the hash of a missing one is that of an empty text, which is no row of an export."""
    texts = payloads.fill_null("").to_numpy(zero_copy_only=False) if len(payloads) else np.zeros(0, object)
    found: Hashes = pd.util.hash_array(texts, categorize=False)
    return found


def _states(entries: npt.NDArray[Any]) -> Hashes:
    """Hash what is known of complaints: intake, narrative and outcome."""
    states = np.zeros(len(entries), np.uint64)
    for start in range(0, len(entries), _CHUNK):
        chunk, state = entries[start : start + _CHUNK], states[start : start + _CHUNK]
        for column in (*chunk["intake"].T, chunk["narrative"], *chunk["outcome"].T):
            state *= _FACTOR
            state += column.astype(np.uint64)
            state ^= state >> np.uint64(29)
    return states
