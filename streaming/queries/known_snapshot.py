"""What the refining query knows of each complaint, kept in a file, so that a start reads only what is newer.

Reading it from silver takes as long as silver is large, since narratives are hashed. So it is saved whenever it has
grown by a share, and a start adds the rows that were refined later. Whether that is all is checked by the tables'
numbers of rows; if they differ, it is read from silver again. The file holds ids and hashes, no text.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lakehouse.archive import read_archive, write_archive
from lakehouse.settings import Settings
from silver.known_complaints import KnownComplaints

LEAST_COMPLAINTS = 50_000  # below, reading silver takes about as long
GROWTH = 1.05  # saved again when there are this many times as many complaints
FORMAT = 2  # of the file; another one is not read


@dataclass(frozen=True)
class Snapshot:
    """What was known after a batch.

    Attributes:
        known: the complaints.
        refined_at: start of the last batch that is included, in microseconds.
        rows: number of rows included, by name of the table.
    """

    known: KnownComplaints
    refined_at: int
    rows: Mapping[str, int]


def save(settings: Settings, snapshot: Snapshot) -> None:
    """Write the snapshot, in place of an earlier one."""
    ids, entries = snapshot.known.content
    about = {"refined_at": snapshot.refined_at, "rows": dict(snapshot.rows)}
    write_archive(_path(settings), FORMAT, about, {"ids": ids, "entries": entries})


def load(settings: Settings) -> Snapshot | None:
    """Return the last snapshot; None if there is none that can be read."""
    found = read_archive(_path(settings), FORMAT)
    if found is None:
        return None
    about, arrays = found
    known = KnownComplaints()
    known.add(arrays["ids"], arrays["entries"])
    return Snapshot(known, about["refined_at"], about["rows"])


def remove(settings: Settings) -> None:
    """Remove the folder, also a file that was being written: the next start reads silver."""
    shutil.rmtree(folder_of(settings), ignore_errors=True)


def folder_of(settings: Settings) -> Path:
    """The folder of what is known, as hashes: derived from silver, and removed by an erasure."""
    return settings.folder / "known"


def _path(settings: Settings) -> Path:
    return folder_of(settings) / "complaints.npz"
