"""Only one of two jobs holds the lease on a query, until it releases it or dies."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lakehouse.tables.lake import Lake
from lakehouse.tables.lease import LEASES, Lease
from lakehouse.tables.writer_lock import BusyError

TERM = 30.0  # a commit on a busy machine takes a few seconds of it


def test_of_two_concurrent_jobs_one_gets_the_lease_and_the_other_is_refused(lake: Lake) -> None:
    lake.create([LEASES])

    def request(job: str) -> Lease | None:
        own = Lake(lake.spark.newSession(), lake.settings)
        try:
            lease = Lease(own, "refine", job, TERM)
        except BusyError as refused:
            assert "Another job runs the refine query of this lake" in str(refused)  # noqa: PT017 - in a thread
            return None
        lease.hold(lambda: not is_over)
        return lease

    is_over = False
    with ThreadPoolExecutor(2) as jobs:
        found = list(jobs.map(request, ("a", "b")))
    (held,) = [lease for lease in found if lease]
    held.check()
    Lease(lake, "score", "c", TERM).check()
    is_over = True
    Lease(lake, "refine", "c", TERM).check()
    with pytest.raises(BusyError, match="this one writes nothing more"):
        held.check()


def test_the_lease_of_a_dead_job_is_taken_over_and_that_job_writes_no_more(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Lease(lake, "refine", "a", TERM)
    Lease(lake, "refine", "a", TERM).check()
    lake.delta(LEASES).update("holder = 'a'", {"until": "current_timestamp() - INTERVAL 1 SECOND"})
    Lease(lake, "refine", "b", TERM).check()
    assert [row.holder for row in lake.read(LEASES).collect()] == ["b"]
    later = time.monotonic() + TERM
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(BusyError, match="The lease on the refine query could not be renewed in time"):
        dead.check()
