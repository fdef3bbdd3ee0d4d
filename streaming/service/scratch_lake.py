"""Lakes aside: empty ones below a lake's root, for a benchmark or a warm-up, removed when they have served."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.settings import Settings
from lakehouse.tables.lake import writer_lock
from lakehouse.tables.writer_lock import WriterLock
from ml.registry.registry import Registry


@contextmanager
def empty_lake(settings: Settings, name: str) -> Iterator[Settings]:
    """Settings of an empty lake in the root's folder of that name, removed afterwards.

    Raises:
        BusyError: another process uses the folder, which would be emptied under its hands.
    """
    folder = settings.folder / name
    settings.folder.mkdir(parents=True, exist_ok=True)
    aside = settings.model_copy(update={"root": folder, "folder": folder})  # the copy keeps what was worked out
    refusal = f"Another process uses {folder}: wait until it has ended, or set COMPLAINTS_ROOT to another folder."
    with WriterLock(settings.folder / f".{name}.lock", refusal):
        with writer_lock(aside):  # no Java process that was left behind writes there any more
            shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir()
            yield aside
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lake_with_champion(settings: Settings, name: str) -> Iterator[Settings]:
    """The same with the root's registry.

    Raises:
        BusyError: as above.
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
