"""What can go wrong with the registry: locked by another process, not a database, not responding, moved elsewhere.

Without these checks, MLflow would wait for hours to open a locked database without reporting anything.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException

from lakehouse.errors import ComplaintsError
from ml.registry.relocation import relocate

WAIT_SECONDS = 5.0  # MLflow's own writes hold the database for milliseconds
LOCKED = "database is locked"  # SQLite's message


class UnreachableError(ComplaintsError):
    """Raised when the registry does not respond; there may or may not be a champion."""


@contextmanager
def asking(model: str, database: Path | None, *, writing: bool = False) -> Iterator[None]:
    """Context for registry calls: check the database first, `relocate` it, and convert MLflow's errors.

    Args:
        model: name of the registered model.
        database: the registry's SQLite file; None when a server holds it.
        writing: whether the calls write, which more locks prevent than reading.

    Raises:
        UnreachableError: if another process holds its lock, it is not a registry, or it does not respond.
    """
    if database is not None and database.is_file():
        _check_database(model, database, writing=writing)
    try:
        yield
    except MlflowException as error:
        first = str(error).strip().partition("\n")[0]
        if LOCKED in first:
            raise UnreachableError(_locked(model, database)) from error
        msg = f"The registry of the model '{model}' can't be reached: {first}"
        raise UnreachableError(msg) from error


def _check_database(model: str, database: Path, *, writing: bool) -> None:
    try:
        with closing(sqlite3.connect(database, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
            relocate(connection, database.parent)
    except sqlite3.Error as error:
        if LOCKED in str(error):
            raise UnreachableError(_locked(model, database)) from error
        msg = (
            f"The registry of the model '{model}' in {database} can't be read ({error}): put a copy of "
            f"{database.parent} back, or move that folder away and run `complaints train`."
        )
        raise UnreachableError(msg) from error


def _locked(model: str, database: Path | None) -> str:
    return (
        f"The registry of the model '{model}'{f' in {database}' if database else ''} is locked by another process: "
        "wait until that has ended, or stop it."
    )
