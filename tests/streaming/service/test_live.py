"""While a stream starts, the queries that no new complaint waits for are held back."""

from pathlib import Path

from streaming.queries.definitions import BACKGROUND
from streaming.service.live import LiveStream
from streaming.status import QUERIES, read_status
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import wait_until


def phase(folder: Path) -> str:
    status = read_status(folder)
    assert status
    return status.phase


def test_merging_revising_and_summarising_begin_once_the_waiting_complaints_are_decided(
    trained: Trained, tmp_path: Path
) -> None:
    lake = copy_of(trained, tmp_path / "lake")
    with LiveStream(lake.settings, lambda _: None) as stream:
        assert set(stream.supervisor.queries) == set(QUERIES) - BACKGROUND
        assert phase(lake.settings.folder) == "starting"

        def runs_all() -> bool:
            stream.tick()
            return set(stream.supervisor.queries) == set(QUERIES)

        wait_until(runs_all, "the other queries")
        assert phase(lake.settings.folder) == "running"
