from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from streaming.service.scratch_lake import empty_lake


def test_a_scratch_lake_starts_empty_and_is_removed(tmp_path: Path) -> None:
    settings = load_settings(root=tmp_path / "lake")
    (settings.folder / "bench").mkdir(parents=True)
    (settings.folder / "bench" / "left-by-a-killed-process").touch()
    with empty_lake(settings, "bench") as scratch:
        assert scratch.folder == settings.folder / "bench"
        assert list(scratch.folder.iterdir()) == []
    assert not (settings.folder / "bench").exists()


def test_a_scratch_lake_in_use_by_another_process_is_not_emptied(tmp_path: Path) -> None:
    settings = load_settings(root=tmp_path / "lake")
    with empty_lake(settings, "bench") as scratch:
        (scratch.folder / "in-use").touch()
        with pytest.raises(ComplaintsError, match=r"Another process uses .*bench: wait until it has ended"):
            empty_lake(settings, "bench").__enter__()
        assert (scratch.folder / "in-use").exists()
        with empty_lake(settings, "standby"):
            pass
