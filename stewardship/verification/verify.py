"""Verify that nothing was lost or duplicated: the invariants of a lake, counted over files and Kafka.

Reads the Delta tables, the queries' checkpoints and both topics, without Spark and without a lock, so also while a
stream runs: each table at one version (in the order of `invariants.COLUMNS`); work that a query had not finished at
that point is counted as in progress (`UNDER_WAY`).
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.sql.pinned import PinnedTables, newest_version
from lakehouse.tables.declaration import Table
from silver.tables import COMPLAINTS, OUTCOME_REPORTS, REVISIONS
from stewardship.verification.invariants import APART, COLUMNS, INVARIANTS, PREPARED, UNDER_WAY, Invariant
from stewardship.verification.topic_rows import CLIENT, Kept, make_table, read_topic
from stewardship.verification.unread import unread
from streaming.kafka.address import broker_address
from streaming.kafka.broker import Broker
from streaming.kafka.topics import consumer_of
from streaming.queries.checkpoints import running_progress

EXAMPLES = 5
NO_KAFKA = "Not checked: this lake has no broker, and kafka.bootstrap_servers names none."
NO_CHAMPION = "No complaint is scored yet, because there is no champion: run `complaints train`."
NOT_SCORED = "No complaint is scored yet: run `complaints stream` or `complaints score`."
Notify = Callable[[str], None]

# By query: the name of its list of unread rows, its source table, and the column that identifies a row.
WAITING: Mapping[str, tuple[str, Table, str]] = {
    "refine": ("unrefined", BRONZE, "record_id"),
    "merge": ("unmerged", OUTCOME_REPORTS, "complaint_id"),
    "score": ("unscored", COMPLAINTS, "complaint_id"),
    "revise": ("unrevised", REVISIONS, "complaint_id"),
    "summarise": ("unsummed", DECISIONS, "complaint_id"),
}


@dataclass(frozen=True)
class Checked:
    """Result of checking an invariant.

    Attributes:
        name: name of the invariant.
        says: the condition in words.
        counted: number of things it covers; None if it could not be checked.
        broken: number of violations by verdict.
        apart: number of accounted exceptions by reason, such as being in progress.
        examples: some ids by verdict.
        note: additional information.
    """

    name: str
    says: str
    counted: int | None
    broken: Mapping[str, int]
    apart: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]]
    note: str | None = None

    @property
    def holds(self) -> bool:
        """Whether there are no violations."""
        return not self.broken

    @property
    def under_way(self) -> int:
        """Number of things in progress."""
        return self.apart.get(UNDER_WAY, 0)


@dataclass(frozen=True)
class Verified:
    """Result of a verification.

    Attributes:
        invariants: each invariant with its counts.
        seconds: from start to end.
    """

    invariants: tuple[Checked, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every invariant that could be checked holds."""
        return all(checked.holds for checked in self.invariants)

    @property
    def under_way(self) -> int:
        """Number of things in progress, over all invariants."""
        return sum(checked.under_way for checked in self.invariants)

    def as_json(self) -> dict[str, Any]:
        """Return the attributes by name."""
        invariants = {one.name: {"holds": one.holds, **asdict(one)} for one in self.invariants}
        seconds = round(self.seconds, 1)
        return {"holds": self.holds, "under_way": self.under_way, "seconds": seconds, "invariants": invariants}


def verify(settings: Settings, notify: Notify) -> Verified:
    """Check every invariant of a local lake.

    The embedded broker is started if no stream is running it.

    Raises:
        ComplaintsError: there is no lake; a checkpoint is damaged; Kafka can't be reached; or a complaint was erased
            during the verification.
    """
    if not settings.platform.tables_are_files:
        msg = "This command verifies a local lake only: on a workspace, query its tables through a SQL warehouse."
        raise ComplaintsError(msg)
    if newest_version(settings, BRONZE) is None:
        msg = f"There are no tables in {settings.folder} yet: run `complaints load` first."
        raise ComplaintsError(msg)
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="complaints-verify-") as spill:
        verifying = _Verifying(settings, PinnedTables(settings, Path(spill)), started, notify)
        try:
            checked = verifying.checked()
        except duckdb.Error as error:
            first = str(error).strip().partition("\n")[0]
            msg = f"The lake in {settings.folder} can't be read whole ({first}): verify again while no erasure runs."
            raise ComplaintsError(msg) from error
        finally:
            verifying.close()
    return Verified(checked, (datetime.now(UTC) - started).total_seconds())


class _Verifying:
    """The steps of one verification."""

    def __init__(self, settings: Settings, tables: PinnedTables, started: datetime, notify: Notify) -> None:
        self._settings = settings
        self._tables = tables
        self._sql = tables.connection
        self._started = started
        self._notify = notify
        self._kafka = False
        self._notes: dict[str, str] = {}

    def close(self) -> None:
        """Close the connection and its copies."""
        self._sql.close()

    def checked(self) -> tuple[Checked, ...]:
        """Return each invariant with its counts."""
        self._notify("Reading the checkpoints and the tables' logs.")
        self._pin()
        self._copy_topics()
        self._notify("Counting the rows of bronze and their destinations.")
        for statement in PREPARED:
            self._sql.execute(statement)
        checked = tuple(self._count(invariant) for invariant in INVARIANTS)
        if newest_version(self._settings, ERASURES) != self._tables.versions[ERASURES]:
            msg = "A complaint was erased while the lake was being verified: verify again."
            raise ComplaintsError(msg)
        return checked

    def _pin(self) -> None:
        """Record each query's progress, then pin the tables, so that they contain all completed batches."""
        reached = {query: running_progress(self._settings, query) for query in ("ingest", *WAITING)}
        since = [_next_planned_at(self._settings, query, reached[query].done) for query in ("score", "revise")]
        topic = self._settings.kafka.input.name
        self._sql.execute(
            "CREATE TABLE asked (topic VARCHAR, started TIMESTAMPTZ, publishing_since TIMESTAMPTZ, "
            "revising_since TIMESTAMPTZ)"
        )
        self._sql.execute(
            "INSERT INTO asked VALUES (?, ?, ?, ?)", [topic, self._started, *(at or self._started for at in since)]
        )
        self._sql.execute('CREATE TABLE reached ("partition" INTEGER, "end" BIGINT)')
        for number, offset in ((reached["ingest"].read or {}).get(topic) or {}).items():
            self._sql.execute("INSERT INTO reached VALUES (?, ?)", [int(number), int(offset)])
        for table, columns in COLUMNS.items():
            self._tables.pin(table, columns)
        for query in WAITING:
            self._store_unread(query, reached[query].read)
        if reached["score"].read is None:
            registry = self._settings.folder / "mlflow" / "mlflow.db"
            self._notes["gold"] = NOT_SCORED if registry.is_file() else NO_CHAMPION

    def _store_unread(self, query: str, read: dict[str, Any] | None) -> None:
        name, table, column = WAITING[query]
        waiting = unread(self._settings, table, read)
        self._sql.execute(f"ALTER TABLE asked ADD COLUMN all_{name} BOOLEAN DEFAULT {waiting.everything}")
        kind = "VARCHAR" if column == "record_id" else "BIGINT"
        self._sql.execute(f"CREATE TABLE {name} ({column} {kind})")
        if waiting.files:
            files = [str(file) for file in waiting.files]
            self._sql.execute(f"INSERT INTO {name} SELECT {column} FROM read_parquet($files)", {"files": files})  # noqa: S608

    def _copy_topics(self) -> None:
        for table in ("on_input", "on_predictions"):
            make_table(self._sql, table)
        self._sql.execute("CREATE TABLE cut (reach_ms BIGINT)")
        with _servers(self._settings, self._notify) as servers:
            if servers is None:
                return
            self._kafka = True
            with consumer_of(self._settings.kafka, servers, options=CLIENT) as consumer:
                self._copy("messages", self._settings.kafka.input.name, "on_input", consumer)
                (since,) = self._sql.execute("SELECT min(scored_at) FROM gold.decisions").fetchone() or (None,)
                name = self._settings.kafka.predictions.name
                remaining = self._copy("published", name, "on_predictions", consumer, since or self._started)
        for number in remaining.cut:
            self._sql.execute(
                "INSERT INTO cut SELECT coalesce(min(sent_ms), epoch_ms(any_value(started))) "
                'FROM asked LEFT JOIN on_predictions ON "partition" = $number',
                {"number": number},
            )

    def _copy(self, name: str, topic: str, table: str, consumer: Any, since: datetime | None = None) -> Kept:  # noqa: ANN401
        def on_rows(done: int) -> None:
            self._notify(f"Reading {topic}: {done:,} messages.")

        remaining = read_topic(consumer, topic, self._sql, table, since=since, on_rows=on_rows)
        if not remaining.end:
            self._notes[name] = f"There is no topic {topic} at the broker."
        return remaining

    def _count(self, invariant: Invariant) -> Checked:
        self._notify(f"Checking that {invariant.says}.")
        if invariant.topic and not self._kafka:
            return Checked(invariant.name, invariant.says, None, {}, {}, {}, NO_KAFKA)
        (counted,) = self._sql.execute(invariant.counted).fetchone() or (0,)
        found = self._sql.execute(
            f"SELECT verdict, sum(n)::BIGINT, min(id, {EXAMPLES}) FROM ({invariant.findings}) GROUP BY verdict "  # noqa: S608
            "ORDER BY verdict"
        ).fetchall()
        broken = {verdict: n for verdict, n, _ in found if verdict not in APART}
        apart = {verdict: n for verdict, n, _ in found if verdict in APART}
        examples = {verdict: tuple(ids) for verdict, _, ids in found if verdict in broken}
        note = self._notes.get(invariant.name)
        return Checked(invariant.name, invariant.says, int(counted), broken, apart, examples, note)


def _next_planned_at(settings: Settings, query: str, done: int | None) -> datetime | None:
    """Return when the batch after the last finished one was planned, or None."""
    planned = settings.folder / "checkpoints" / query / "offsets" / str(0 if done is None else done + 1)
    return datetime.fromtimestamp(planned.stat().st_mtime, UTC) if planned.is_file() else None


@contextmanager
def _servers(settings: Settings, notify: Notify) -> Iterator[str | None]:
    """Yield the brokers' address, starting the embedded one if needed; None if there never was a broker."""
    folder = settings.folder / "broker"
    if settings.kafka.bootstrap_servers is not None or not folder.is_dir():
        yield settings.kafka.bootstrap_servers
        return
    try:
        address = broker_address(settings)
    except ComplaintsError:
        notify("Starting the embedded broker.")
        with Broker(folder) as broker:
            yield broker.bootstrap_servers
    else:
        yield address
