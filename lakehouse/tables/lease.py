"""A lease on a streaming query's checkpoint, in a Delta table: for jobs on clusters that share no disk to lock.

Delta lets one of two commits win that change the same row, so one of two jobs gets the lease. Its holder renews it
while the query runs, and writes no batch after the time up to which it has it; another job takes it from then on.
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
RENEWALS = 4  # in a term
MARGIN = 0.25  # of a term, before whose end no batch begins: it takes its time, and clusters' clocks differ
LOOK_SECONDS = 1.0  # between two looks whether a lease has ended, or its query
ATTEMPTS = 5  # at a commit that others make at the same time
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
    """The right to run one query, renewed in a thread until it is released.

    A lease of a job that is gone is waited for; one that is renewed meanwhile is not.

    Args:
        lake: the lake.
        query: the query.
        holder: a name that no other job has; the same job may take its lease again.
        term: seconds for which it is taken.

    Raises:
        BusyError: another job has it.
    """

    def __init__(self, lake: Lake, query: str, holder: str, term: float = TERM_SECONDS) -> None:
        self._lake, self._query, self._holder, self._term = lake, query, holder, term
        self._ends = 0.0  # by this process's own clock
        lake.create([LEASES])
        self._wait()

    def hold(self, is_needed: Callable[[], bool]) -> None:
        """Renew the lease, in a thread, as long as it is needed; then give it back."""
        threading.Thread(target=self._keep, args=(is_needed,), name=f"lease-{self._query}", daemon=True).start()

    def check(self) -> None:
        """Let a batch begin.

        Raises:
            BusyError: the lease ends too soon for that.
        """
        if time.monotonic() >= self._ends - self._term * MARGIN:
            msg = (
                f"The lease on the {self._query} query could not be renewed in time, so another job may run it by now: "
                "this one writes nothing more."
            )
            raise BusyError(msg)

    def release(self) -> None:
        """Give the lease back; where that can't be done it ends by itself."""
        self._ends = 0.0
        with suppress(PySparkException):
            self._lake.delta(LEASES).delete(self._mine & (F.col("holder") == self._holder))

    def _wait(self) -> None:
        """Take the lease, once it has ended where a job has it that is gone."""
        first = until = self._take()
        while first is not None and until is not None:
            time.sleep(LOOK_SECONDS)
            state = self._state()
            if state is None or state.has_ended:
                until = self._take()
            elif state.until > first:
                msg = (
                    f"Another job runs the {self._query} query of this lake: two must not go on from one checkpoint. "
                    "Wait until it has ended, or stop it first; nothing was changed."
                )
                raise BusyError(msg)

    def _take(self) -> datetime | None:
        """Take or renew the lease and give None; where another job has it, give up to when."""
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            try:
                self._merge()
            except CONFLICTS:
                continue
            state = self._state()
            if state is not None and state.holder != self._holder:
                return cast("datetime", state.until)
            if state is not None:
                self._ends = began + self._term
                return None
        msg = f"The lease on the {self._query} query can't be taken: others write {LEASES.name} all the time."
        raise BusyError(msg)

    def _state(self) -> Row | None:
        """The lease as it is, by the clock of this cluster."""
        has_ended = (F.col("until") < F.current_timestamp()).alias("has_ended")
        return self._lake.read(LEASES).where(self._mine).select("holder", "until", has_ended).first()

    def _merge(self) -> None:
        until = F.current_timestamp() + F.make_dt_interval(secs=F.lit(self._term))
        asked = self._lake.spark.range(1).select(
            F.lit(self._query).alias("query"), F.lit(self._holder).alias("holder"), until.alias("until")
        )
        (
            self._lake.delta(LEASES)
            .alias("t")
            .merge(asked.alias("s"), "t.query = s.query")
            .whenMatchedUpdateAll("t.until < current_timestamp() OR t.holder = s.holder")
            .whenNotMatchedInsertAll()
            .execute()
        )

    @property
    def _mine(self) -> Condition:
        return F.col("query") == self._query

    def _keep(self, is_needed: Callable[[], bool]) -> None:
        interval = self._term / RENEWALS
        due = time.monotonic() + interval
        while is_needed():
            if time.monotonic() >= due:
                with suppress(BusyError, PySparkException):  # told by `check`, when it matters
                    self._take()
                due = time.monotonic() + interval
            time.sleep(min(LOOK_SECONDS, interval))
        self.release()
