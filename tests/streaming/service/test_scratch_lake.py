from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from streaming.service.scratch_lake import empty_lake


def test_a_lake_aside_begins_empty_and_leaves_nothing(tmp_path: Path) -> None:
    settings = load_settings(root=tmp_path / "lake")
    (settings.folder / "bench").mkdir(parents=True)
    (settings.folder / "bench" / "left-by-a-killed-process").touch()
    with empty_lake(settings, "bench") as aside:
        assert aside.folder == settings.folder / "bench"
        assert list(aside.folder.iterdir()) == []
    assert not (settings.folder / "bench").exists()


def test_what_another_process_uses_is_not_emptied_under_its_hands(tmp_path: Path) -> None:
    settings = load_settings(root=tmp_path / "lake")
    with empty_lake(settings, "bench") as aside:
        (aside.folder / "at-work").touch()
        with pytest.raises(ComplaintsError, match=r"Another process uses .*bench: wait until it has ended"):
            empty_lake(settings, "bench").__enter__()
        assert (aside.folder / "at-work").exists()
        with empty_lake(settings, "standby"):
            pass
