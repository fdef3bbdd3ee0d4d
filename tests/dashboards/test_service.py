"""An incomplete installation is reported before anything is started or changed."""

import shutil
from pathlib import Path

import pytest

from dashboards.environment import PROJECT, SupersetEnvironment
from dashboards.service import Superset
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from streaming.tables import TABLES


@pytest.fixture
def superset(settings: Settings, tmp_path: Path) -> Superset:
    """Superset with an interrupted installation: the environment exists but has no completion stamp."""
    project = tmp_path / "project"
    (project / "dashboards").mkdir(parents=True)
    shutil.copy(PROJECT / "dashboards" / "requirements.lock", project / "dashboards")
    environment = SupersetEnvironment(project)
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.unfinished.touch()
    server = Superset(settings, TABLES)
    server.environment = environment
    return server


def test_an_interrupted_installation_is_reported(superset: Superset) -> None:
    found = superset.status()
    assert (found.installed, found.configured, found.running, found.healthy) == (False, False, False, False)


def test_nothing_is_configured_with_an_incomplete_installation(superset: Superset) -> None:
    with pytest.raises(ComplaintsError, match="only half: run `complaints superset install`"):
        superset.configure()
    assert not superset.home.exists()


def test_a_complete_installation_matches_its_lock_file(superset: Superset) -> None:
    superset.environment.stamp.write_text(superset.environment.fingerprint())
    assert superset.status().installed
    with superset.environment.lock.open("a") as lock:
        lock.write("another==1.0\n")
    assert not superset.status().installed, "installed from another lock file"
