"""What the refining query knows of each complaint, kept in a file, so that a start reads only what is newer.

Reading it from silver takes as long as silver is large, since narratives are hashed. So it is saved whenever it has
grown by a share, and a start adds the rows that were refined later. Whether that is all is checked by the tables'
numbers of rows; if they differ, it is read from silver again. The file holds ids and hashes, no text.
"""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

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
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    # Written elsewhere first: a volume of a workspace can't be written in any order, as an archive is.
    about = json.dumps({"format": FORMAT, "refined_at": snapshot.refined_at, "rows": dict(snapshot.rows)})
    ids, entries = snapshot.known.content
    with TemporaryFile() as file:
        np.savez(file, about=np.array(about), ids=ids, entries=entries)
        file.seek(0)
        with part.open("wb") as target:
            shutil.copyfileobj(file, target)
    part.replace(path)


def load(settings: Settings) -> Snapshot | None:
    """Return the last snapshot; None if there is none that can be read."""
    try:
        with np.load(_path(settings), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["format"] != FORMAT:
                return None
            known = KnownComplaints()
            known.add(arrays["ids"], arrays["entries"])
            return Snapshot(known, about["refined_at"], about["rows"])
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None


def remove(settings: Settings) -> None:
    """Remove the snapshot, also one that was being written: the next start reads silver."""
    shutil.rmtree(_path(settings).parent, ignore_errors=True)


def _path(settings: Settings) -> Path:
    return settings.folder / "known" / "complaints.npz"
