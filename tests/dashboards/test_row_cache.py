"""Cached chart rows stay on disk for a few minutes only, and no dataset asks for longer."""

import os
from pathlib import Path

from dashboards.assets import Assets
from dashboards.server.row_cache import KEPT_SECONDS, folder, forget


def test_expired_rows_are_deleted_and_the_rest_stays(tmp_path: Path) -> None:
    forget(tmp_path, 0)  # nothing is cached yet
    folder(tmp_path).mkdir(parents=True)
    for name, age in (("old", KEPT_SECONDS + 1), ("new", KEPT_SECONDS - 1)):
        (folder(tmp_path) / name).write_text("rows")
        os.utime(folder(tmp_path) / name, (10_000 - age, 10_000 - age))
    forget(tmp_path, 10_000)
    assert [path.name for path in folder(tmp_path).iterdir()] == ["new"]


def test_no_dataset_asks_for_longer() -> None:
    assert max(dataset.content["cache_timeout"] for dataset in Assets().datasets) <= KEPT_SECONDS <= 300
