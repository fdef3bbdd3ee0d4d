"""A registry whose folder was copied or moved: its files are found where the folder is now.

MLflow stores absolute locations in its database. They are changed in one transaction when the registry is used in
another folder than before. Only a local registry, SQLite and files in one folder, is ever changed.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

ARTIFACTS = "artifacts"
# Where MLflow stores the location of files; an experiment's is where new runs write.
_EXPERIMENTS = ("experiments", "artifact_location")
_COLUMNS = (
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def location(folder: Path) -> str:
    """Return the URI under which a registry in this folder keeps its files; links are resolved.

    So a lake that is opened through a link, or that shares another one's registry by a link, is not taken for a copy.
    """
    return (folder.resolve() / ARTIFACTS).as_uri()


def relocate(connection: sqlite3.Connection, folder: Path) -> None:
    """Change the locations of a registry that was copied or moved into this folder.

    A location is left as it is when its files are not in this folder but still where it says: an earlier version of
    this project wrote the runs of a copied lake into the original.

    Args:
        connection: to the registry's database, without an open transaction.
        folder: the folder of the database.

    Raises:
        sqlite3.Error: the database can't be read or, when a location has to change, not be written.
    """
    if not list(_former(connection, folder)):
        return
    connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
    try:
        for former in _former(connection, folder):
            _replace(connection, *_EXPERIMENTS, former, location(folder), is_forced=True)
            for table, column in _COLUMNS:
                _replace(connection, table, column, former, location(folder))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _former(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    """Yield the locations of other folders in which experiments of this registry were created."""
    own = location(folder)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_EXPERIMENTS[0],)).fetchone():
        for (found,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall():
            if found and found != own and found.startswith("file:") and found.endswith(f"/{ARTIFACTS}"):
                yield str(found)


def _replace(
    connection: sqlite3.Connection, table: str, column: str, former: str, own: str, *, is_forced: bool = False
) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return
    select = f"SELECT DISTINCT {column} FROM {table} WHERE substr({column} || '/', 1, ?) = ?"  # noqa: S608 - constants
    for (found,) in connection.execute(select, (len(former) + 1, f"{former}/")).fetchall():
        moved = own + found[len(former) :]
        if is_forced or _path(moved).exists() or not _path(found).exists():
            update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - constants
            connection.execute(update, (moved, found))


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
