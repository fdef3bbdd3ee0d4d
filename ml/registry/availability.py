"""What can ail the registry itself, each in a sentence: locked by another process, no database, not answering.

Without this MLflow would wait for hours for a locked database when it opens it, and say nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException

from lakehouse.errors import ComplaintsError

WAIT_SECONDS = 5.0  # MLflow's own writes hold the database for milliseconds
LOCKED = "database is locked"  # SQLite's words


class UnreachableError(ComplaintsError):
    """Raised when the registry does not answer, which says nothing of whether there is a champion."""


@contextmanager
def asking(model: str, database: Path | None, *, writing: bool = False) -> Iterator[None]:
    """Ask the registry within this context.

    Args:
        model: the registered model's name.
        database: the registry's SQLite file; None where a server has it.
        writing: whether it is written, which more locks forbid than reading.

    Raises:
        UnreachableError: another process holds its lock, it is not a registry, or it does not answer.
    """
    if database is not None and database.is_file():
        _refuse_unusable(model, database, writing=writing)
    try:
        yield
    except MlflowException as error:
        first = str(error).strip().partition("\n")[0]
        if LOCKED in first:
            raise UnreachableError(_locked(model, database)) from error
        msg = f"The registry of the model '{model}' can't be reached: {first}"
        raise UnreachableError(msg) from error


def _refuse_unusable(model: str, database: Path, *, writing: bool) -> None:
    try:
        with closing(sqlite3.connect(database, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
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
