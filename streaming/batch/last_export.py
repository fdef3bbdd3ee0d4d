"""The rows of the last full export (`silver.repeated_rows`), kept in a file beside what is known of each complaint.

It only saves time: without it each row is compared with silver. An erasure removes it with the folder.
"""

from pathlib import Path

from lakehouse.archive import read_archive, write_archive
from lakehouse.settings import Settings
from silver.repeated_rows import RepeatedRows
from streaming.queries.known_snapshot import folder_of

FORMAT = 1  # of the file; another one is not read


def save(settings: Settings, rows: RepeatedRows) -> None:
    """Write the rows, in place of those of an earlier export."""
    arrays = {"hashes": rows.hashes, "ids": rows.ids, "states": rows.states}
    write_archive(_path(settings), FORMAT, {}, arrays)


def load(settings: Settings) -> RepeatedRows:
    """Return the rows of the last export; none if there is no file that can be read."""
    found = read_archive(_path(settings), FORMAT)
    return RepeatedRows.none() if found is None else RepeatedRows(**found[1])


def _path(settings: Settings) -> Path:
    return folder_of(settings) / "export.npz"
