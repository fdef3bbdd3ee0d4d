"""A lake with decisions, for what reads gold."""

import pytest

from lakehouse.lake import Lake
from streaming.backlog import score_backlog
from streaming.quality import assessment
from streaming.tables import TABLES
from tests.conftest import Trained, copy_of


@pytest.fixture(scope="session")
def scored(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with some hundred decided and assessed complaints; tests read it."""
    lake = copy_of(trained, tmp_path_factory.mktemp("scored") / "lake")
    lake.create(TABLES)
    assert score_backlog(lake.settings, lambda *_: None)
    assert assessment(lake.settings)
    return lake
