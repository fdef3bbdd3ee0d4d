"""A lease on a streaming query's checkpoint, stored in a Delta table, for jobs on clusters without a shared disk.

When two commits change the same row, Delta accepts only one, so only one of two jobs gets the lease. The holder renews
it while the query runs, and writes no batch after it expires; from then on another job can take it.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import cast

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
from pyspark.errors import PySparkException
from pyspark.sql import Column as Condition
from pyspark.sql import Row
from pyspark.sql import functions as F

from lakehouse.tables.declaration import Column, Table
from lakehouse.tables.lake import Lake
from lakehouse.tables.writer_lock import BusyError

TERM_SECONDS = 120.0
RENEWALS = 4  # per term
MARGIN = 0.25  # share of the term before expiry in which no batch starts: batches take time, and clocks differ
LOOK_SECONDS = 1.0  # between checks for the end of a lease or a query
ATTEMPTS = 5  # at a commit that conflicts with others
CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)

LEASES = Table(
    name="bronze.leases",
    grain="one streaming query of this lake",
    comment="Which job may run a streaming query, and up to when. Used where several clusters write one lake.",
    columns=(
        Column("query", "string", "The query.", nullable=False),
        Column("holder", "string", "The job's own number for itself, which no other has.", nullable=False),
        Column("until", "timestamp", "When the lease ends unless it is renewed.", nullable=False),
    ),
)


class Lease:
    """Exclusive permission to run one query, renewed in a thread until it is released.

    Waits for the lease of a dead job to expire; fails as soon as another job renews its lease.

    Args:
        lake: the lake.
        query: the query.
        holder: a name unique to the job; the same job may take its lease again.
        term: length of the lease in seconds.

    Raises:
        BusyError: another job has the lease.
    """

    def __init__(self, lake: Lake, query: str, holder: str, term: float = TERM_SECONDS) -> None:
        self._lake, self._query, self._holder, self._term = lake, query, holder, term
        self._ends = 0.0  # on this process's monotonic clock
        lake.create([LEASES])
        self._wait()

    def hold(self, is_needed: Callable[[], bool]) -> None:
        """Renew the lease in a thread as long as it is needed, then release it."""
        threading.Thread(target=self._renew, args=(is_needed,), name=f"lease-{self._query}", daemon=True).start()

    def check(self) -> None:
        """Check that the lease lasts long enough to start a batch.

        Raises:
            BusyError: it expires too soon.
        """
        if time.monotonic() >= self._ends - self._term * MARGIN:
            msg = (
                f"The lease on the {self._query} query could not be renewed in time, so another job may run it by now: "
                "this one writes nothing more."
            )
            raise BusyError(msg)

    def release(self) -> None:
        """Release the lease; if that fails, it expires by itself."""
        self._ends = 0.0
        with suppress(PySparkException):
            self._lake.delta(LEASES).delete(self._this_query & (F.col("holder") == self._holder))

    def _wait(self) -> None:
        """Take the lease, waiting for the lease of a dead job to expire."""
        first = until = self._acquire()
        while first is not None and until is not None:
            time.sleep(LOOK_SECONDS)
            state = self._state()
            if state is None or state.has_ended:
                until = self._acquire()
            elif state.until > first:
                msg = (
                    f"Another job runs the {self._query} query of this lake: two jobs must not use one checkpoint. "
                    "Wait until it has ended, or stop it first; nothing was changed."
                )
                raise BusyError(msg)

    def _acquire(self) -> datetime | None:
        """Take or renew the lease and return None; if another job has it, return its expiry."""
        for _ in range(ATTEMPTS):
            started = time.monotonic()
            try:
                self._merge()
            except CONFLICTS:
                continue
            state = self._state()
            if state is not None and state.holder != self._holder:
                return cast("datetime", state.until)
            if state is not None:
                self._ends = started + self._term
                return None
        msg = f"The lease on the {self._query} query can't be taken: other jobs keep writing {LEASES.name}."
        raise BusyError(msg)

    def _state(self) -> Row | None:
        """The lease's current state, by this cluster's clock."""
        has_ended = (F.col("until") < F.current_timestamp()).alias("has_ended")
        return self._lake.read(LEASES).where(self._this_query).select("holder", "until", has_ended).first()

    def _merge(self) -> None:
        until = F.current_timestamp() + F.make_dt_interval(secs=F.lit(self._term))
        requested = self._lake.spark.range(1).select(
            F.lit(self._query).alias("query"), F.lit(self._holder).alias("holder"), until.alias("until")
        )
        (
            self._lake.delta(LEASES)
            .alias("t")
            .merge(requested.alias("s"), "t.query = s.query")
            .whenMatchedUpdateAll("t.until < current_timestamp() OR t.holder = s.holder")
            .whenNotMatchedInsertAll()
            .execute()
        )

    @property
    def _this_query(self) -> Condition:
        return F.col("query") == self._query

    def _renew(self, is_needed: Callable[[], bool]) -> None:
        interval = self._term / RENEWALS
        due = time.monotonic() + interval
        while is_needed():
            if time.monotonic() >= due:
                with suppress(BusyError, PySparkException):  # `check` reports it when it matters
                    self._acquire()
                due = time.monotonic() + interval
            time.sleep(min(LOOK_SECONDS, interval))
        self.release()
