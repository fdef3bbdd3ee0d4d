"""Scratch lakes: temporary lakes below a lake's root, for a benchmark or a warm-up."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.settings import Settings
from lakehouse.tables.lake import writer_lock
from lakehouse.tables.writer_lock import WriterLock
from ml.registry.registry import Registry


@contextmanager
def empty_lake(settings: Settings, name: str) -> Iterator[Settings]:
    """Yield the settings of an empty lake in this folder of the root; the lake is deleted afterwards.

    Raises:
        BusyError: another process uses the folder.
    """
    folder = settings.folder / name
    settings.folder.mkdir(parents=True, exist_ok=True)
    scratch = settings.model_copy(update={"root": folder, "folder": folder})  # the copy keeps cached values
    refusal = f"Another process uses {folder}: wait until it has ended, or set COMPLAINTS_ROOT to another folder."
    with WriterLock(settings.folder / f".{name}.lock", refusal):
        with writer_lock(scratch):  # no leftover Java process writes there anymore
            shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir()
            yield scratch
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lake_with_champion(settings: Settings, name: str) -> Iterator[Settings]:
    """Yield the settings of an empty lake that shares the root's registry.

    Raises:
        BusyError: another process uses the folder.
        ComplaintsError: there is no champion.
    """
    champions = Registry(settings)
    champions.check(champions.champion_version())
    with empty_lake(settings, name) as empty:
        registry = empty.folder / "mlflow"
        registry.symlink_to(settings.folder / "mlflow", target_is_directory=True)
        try:
            yield empty
        finally:
            registry.unlink(missing_ok=True)
