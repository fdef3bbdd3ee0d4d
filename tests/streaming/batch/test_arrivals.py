"""No file in the landing folder is skipped for good, even if it was damaged or half written."""

import json
import threading
import time
import zipfile
from pathlib import Path

import pytest

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.tables.lake import Lake
from streaming.batch import arrivals
from streaming.batch.load import LoadResult, load_arrivals


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "QUIET_SECONDS", 0.2)


@pytest.fixture
def landing(lake: Lake) -> Path:
    lake.settings.landing.mkdir(parents=True)
    return lake.settings.landing


def complaint(number: int) -> str:
    usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
    return json.dumps({"complaint_id": str(number), **usable}) + "\n"


def zipped(path: Path, *numbers: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.json", "".join(map(complaint, numbers)))


def load(lake: Lake) -> LoadResult:
    return load_arrivals(lake.settings, lambda *_: None)


def test_a_damaged_file_is_reported_each_time_and_loaded_once_it_is_complete(lake: Lake, landing: Path) -> None:
    zipped(landing / "good.zip", 1)
    zipped(landing / "export.zip", 2, 3)
    whole = (landing / "export.zip").read_bytes()
    (landing / "export.zip").write_bytes(whole[:-30])
    for _ in range(2):
        (error,) = load(lake).errors
        assert error.startswith("export.zip is a damaged zip archive")
    assert lake.read(BRONZE).count() == 1

    (landing / "export.zip").unlink()
    result = load(lake)
    assert (result.files, result.errors) == ((), ()), "the file is gone: nothing to report"
    (landing / "export.zip").write_bytes(whole)
    result = load(lake)
    assert (result.rows, result.errors) == (2, ())
    assert load(lake).files == ()
    assert lake.read(BRONZE).count() == 3

    zipped(landing / "export.zip", 3, 4)  # a new file with the same name
    assert load(lake).rows == 2
    assert lake.read(BRONZE).count() == 5


def test_a_file_that_is_still_being_written_waits_for_the_next_load(lake: Lake, landing: Path) -> None:
    path, stop = landing / "growing.json", threading.Event()
    path.write_text(complaint(1))

    def write() -> None:
        with path.open("a") as file:
            for number in range(2, 1_000_000):
                file.write(complaint(number))
                file.flush()
                if stop.wait(0.01):
                    return

    writing = threading.Thread(target=write)
    writing.start()
    try:
        result = load(lake)
    finally:
        stop.set()
        writing.join()
    assert (result.waiting, result.files, result.errors) == ((path,), (), ())
    assert lake.read(BRONZE).count() == 0
    time.sleep(0.2)
    rows = len(path.read_text().splitlines())
    assert load(lake).rows == rows == lake.read(BRONZE).count()


def test_a_file_that_changes_while_it_is_read_is_not_landed(
    lake: Lake, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bronze import load as module  # noqa: PLC0415

    path = landing / "changing.json"
    path.write_text(complaint(1))
    stage = module._stage

    def changed(*arguments: object) -> int:
        rows = stage(*arguments)  # type: ignore[arg-type]
        path.write_text(complaint(1) + complaint(2))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(module, "_stage", changed)
        (error,) = load(lake).errors
    assert error.startswith("changing.json was changed while it was read")
    assert load(lake).rows == 2 == lake.read(BRONZE).count()
