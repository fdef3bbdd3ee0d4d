"""Proves that nothing was lost and nothing is there twice: the invariants of a lake, counted over files and Kafka.

Reads the Delta tables, the queries' checkpoints and both topics, without Spark and without a lock, so also beside a
running stream: each table as of one version (`invariants.COLUMNS` says in which order), and what a query had not
finished at that point is counted as under way.
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
from silver.tables import COMPLAINTS
from stewardship.verification.invariants import APART, COLUMNS, INVARIANTS, PREPARED, UNDER_WAY, Invariant
from stewardship.verification.topic_rows import CLIENT, Kept, make_table, read_topic
from stewardship.verification.unread import progress, unread
from streaming.kafka.address import broker_address
from streaming.kafka.broker import Broker
from streaming.kafka.topics import consumer_of

EXAMPLES = 5
NO_KAFKA = "Not checked: this lake has no broker, and kafka.bootstrap_servers names none."
NO_CHAMPION = "No complaint is scored yet, since there is no champion: `complaints train` makes one."
NOT_SCORED = "No complaint is scored yet: `complaints stream` does it, or `complaints score`."
Say = Callable[[str], None]

# By query what it may not have read yet: the name of that list, the query's source, and the column to tell rows by.
WAITING: Mapping[str, tuple[str, Table, str]] = {
    "refine": ("unrefined", BRONZE, "record_id"),
    "score": ("unscored", COMPLAINTS, "complaint_id"),
    "summarise": ("unsummed", DECISIONS, "complaint_id"),
}


@dataclass(frozen=True)
class Checked:
    """What counting an invariant gave.

    Attributes:
        name: the invariant's.
        says: what must hold.
        counted: how many things it is about; None where it could not be checked.
        broken: by what is wrong with them, how many break it.
        apart: by reason, how many are accounted for although they are not where the rest is: under way, and more.
        examples: by what is wrong, the ids of some.
        note: what else there is to know.
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
        """Whether nothing breaks it."""
        return not self.broken

    @property
    def under_way(self) -> int:
        """How many are on their way."""
        return self.apart.get(UNDER_WAY, 0)


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        invariants: each with its counts.
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
        """How many things are on their way, over all invariants."""
        return sum(checked.under_way for checked in self.invariants)

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        invariants = {one.name: {"holds": one.holds, **asdict(one)} for one in self.invariants}
        seconds = round(self.seconds, 1)
        return {"holds": self.holds, "under_way": self.under_way, "seconds": seconds, "invariants": invariants}


def verify(settings: Settings, say: Say) -> Verified:
    """Count every invariant of a local lake.

    The embedded broker is started for it when no stream has it running.

    Raises:
        ComplaintsError: there is no lake; a checkpoint is damaged; Kafka can't be reached; or a complaint was erased
            meanwhile.
    """
    if not settings.is_local:
        msg = "This command verifies a local lake only: on a workspace, query its tables through a SQL warehouse."
        raise ComplaintsError(msg)
    if newest_version(settings, BRONZE) is None:
        msg = f"There are no tables in {settings.folder} yet: run `complaints load` first."
        raise ComplaintsError(msg)
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="complaints-verify-") as spill:
        verifying = _Verifying(settings, PinnedTables(settings, Path(spill)), started, say)
        try:
            checked = verifying.checked()
        except duckdb.Error as error:
            first = str(error).strip().partition("\n")[0]
            msg = f"The lake in {settings.folder} can't be read whole ({first}): verify again, when nobody erases."
            raise ComplaintsError(msg) from error
        finally:
            verifying.close()
    return Verified(checked, (datetime.now(UTC) - started).total_seconds())


class _Verifying:
    """The steps of one verification."""

    def __init__(self, settings: Settings, tables: PinnedTables, started: datetime, say: Say) -> None:
        self._settings = settings
        self._tables = tables
        self._sql = tables.connection
        self._started = started
        self._say = say
        self._kafka = False
        self._notes: dict[str, str] = {}

    def close(self) -> None:
        """Let the copies go."""
        self._sql.close()

    def checked(self) -> tuple[Checked, ...]:
        """Each invariant with its counts."""
        self._say("Reading the checkpoints and the tables' logs.")
        self._pin()
        self._copy_topics()
        self._say("Counting the rows of bronze and where they went.")
        for statement in PREPARED:
            self._sql.execute(statement)
        checked = tuple(self._count(invariant) for invariant in INVARIANTS)
        if newest_version(self._settings, ERASURES) != self._tables.versions[ERASURES]:
            msg = "A complaint was erased while the lake was being verified: verify again."
            raise ComplaintsError(msg)
        return checked

    def _pin(self) -> None:
        """Note how far each query is, then pin each table: what a query says to be done is in its tables by then."""
        reached = {query: progress(self._settings, query) for query in ("ingest", *WAITING)}
        publishing_since = _begun(self._settings, "score", reached["score"].done) or self._started
        topic = self._settings.kafka.input.name
        self._sql.execute("CREATE TABLE asked (topic VARCHAR, started TIMESTAMPTZ, publishing_since TIMESTAMPTZ)")
        self._sql.execute("INSERT INTO asked VALUES (?, ?, ?)", [topic, self._started, publishing_since])
        self._sql.execute('CREATE TABLE reached ("partition" INTEGER, "end" BIGINT)')
        for number, offset in ((reached["ingest"].read or {}).get(topic) or {}).items():
            self._sql.execute("INSERT INTO reached VALUES (?, ?)", [int(number), int(offset)])
        for table, columns in COLUMNS.items():
            self._tables.pin(table, columns)
        for query in WAITING:
            self._note_unread(query, reached[query].read)
        if reached["score"].read is None:
            registry = self._settings.folder / "mlflow" / "mlflow.db"
            self._notes["gold"] = NOT_SCORED if registry.is_file() else NO_CHAMPION

    def _note_unread(self, query: str, read: dict[str, Any] | None) -> None:
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
        with _servers(self._settings, self._say) as servers:
            if servers is None:
                return
            self._kafka = True
            with consumer_of(self._settings.kafka, servers, options=CLIENT) as consumer:
                self._copy("messages", self._settings.kafka.input.name, "on_input", consumer)
                (since,) = self._sql.execute("SELECT min(scored_at) FROM gold.decisions").fetchone() or (None,)
                name = self._settings.kafka.predictions.name
                kept = self._copy("published", name, "on_predictions", consumer, since or self._started)
        for number in kept.cut:
            self._sql.execute(
                "INSERT INTO cut SELECT coalesce(min(sent_ms), epoch_ms(any_value(started))) "
                'FROM asked LEFT JOIN on_predictions ON "partition" = $number',
                {"number": number},
            )

    def _copy(self, name: str, topic: str, table: str, consumer: Any, since: datetime | None = None) -> Kept:  # noqa: ANN401
        def on_rows(done: int) -> None:
            self._say(f"Reading {topic}: {done:,} messages.")

        kept = read_topic(consumer, topic, self._sql, table, since=since, on_rows=on_rows)
        if not kept.end:
            self._notes[name] = f"There is no topic {topic} at the broker."
        return kept

    def _count(self, invariant: Invariant) -> Checked:
        self._say(f"Checking that {invariant.says}.")
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


def _begun(settings: Settings, query: str, done: int | None) -> datetime | None:
    """When the batch after the last finished one was planned; None when none was."""
    planned = settings.folder / "checkpoints" / query / "offsets" / str(0 if done is None else done + 1)
    return datetime.fromtimestamp(planned.stat().st_mtime, UTC) if planned.is_file() else None


@contextmanager
def _servers(settings: Settings, say: Say) -> Iterator[str | None]:
    """The brokers' address, the embedded one started where nobody has; None for a lake that never had one."""
    folder = settings.folder / "broker"
    if settings.kafka.bootstrap_servers is not None or not folder.is_dir():
        yield settings.kafka.bootstrap_servers
        return
    try:
        address = broker_address(settings)
    except ComplaintsError:
        say("Starting the embedded broker.")
        with Broker(folder) as broker:
            yield broker.bootstrap_servers
    else:
        yield address
