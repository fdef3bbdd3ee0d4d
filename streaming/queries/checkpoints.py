"""Whether a query can go on where it stopped: its checkpoint is whole and its topic's or table's, and nothing is lost.

Spark finds out late, in the words of its own code, or not at all. Nothing is changed here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bronze import tables as bronze
from gold import tables as gold
from gold.aggregates import INCREMENTS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables.commits import newest
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver import tables as silver
from streaming.kafka.origin import noted, origin_of
from streaming.kafka.topics import describe_topics

SOURCES = {"refine": bronze.COMPLAINTS, "score": silver.COMPLAINTS, "summarise": gold.DECISIONS}
RESTORE = (
    "Put back the last copy of the whole lake (docs/operations.md, Back up and restore), or move that folder away: "
    "then its query reads everything again and adds what is missing; nothing was changed."
)


@dataclass(frozen=True)
class Progress:
    """How far a query has come, by its checkpoint.

    Attributes:
        planned: its newest planned batch; None before the first.
        done: its newest batch that is done; None before the first.
        read: where its source was read up to, by the newest batch that is done; None before the first.
    """

    planned: int | None
    done: int | None
    read: dict[str, Any] | None


def check_checkpoint(lake: Lake, query: str) -> None:
    """Refuse a local query whose checkpoint is damaged, or is another topic's or table's.

    Raises:
        ComplaintsError: it is; says which file, and what to do.
    """
    if not lake.settings.is_local:
        return
    folder = Path(lake.checkpoint(query))
    progress = progress_of(folder, query)
    if progress.read is None:
        return
    if query in SOURCES:
        _check_table(lake, folder, SOURCES[query], progress.read)
        if query == "summarise":
            _check_sums(lake, folder, progress.planned)
        return
    topic = lake.settings.kafka.input.name
    if list(progress.read) != [topic]:
        msg = (
            f"The checkpoint in {folder} goes on reading the topic {', '.join(progress.read)}, but kafka.input.name is "
            f"{topic}: set that back, or move the folder away to read {topic} from its beginning; nothing was changed."
        )
        raise ComplaintsError(msg)


def _check_table(lake: Lake, folder: Path, table: Table, read: dict[str, Any]) -> None:
    row = lake.delta(table).detail().select("id").first()
    if row is not None and read.get("reservoirId") != row["id"]:
        msg = (
            f"The checkpoint in {folder} goes on reading another table than the {table.name} that is there, as after "
            f"one of the two was replaced. {RESTORE}"
        )
        raise ComplaintsError(msg)


def _check_sums(lake: Lake, folder: Path, planned: int | None) -> None:
    """Sums don't tell what is in them: a checkpoint from before some of their batches would add these again."""
    query_id = str(_parsed(folder / "metadata", "summarise")["id"])
    last = max((newest(lake, table, query_id) for table in INCREMENTS), default=-1)
    if last > (planned or 0):
        msg = (
            f"The checkpoint in {folder} is at batch {planned}, but gold has its batch {last}, as after an older copy "
            "was put back. Move the folder away: then the sums are rebuilt from gold.decisions; nothing was changed."
        )
        raise ComplaintsError(msg)


def progress_of(folder: Path, query: str) -> Progress:
    """How far a query has come.

    Raises:
        ComplaintsError: its checkpoint is damaged.
    """
    if not folder.is_dir():
        return Progress(None, None, None)
    planned, done = _numbers(folder / "offsets"), _numbers(folder / "commits")
    if planned or done:
        _parsed(folder / "metadata", query)
    last_planned, last_done = max(planned, default=-1), max(done, default=-1)
    if last_done not in (last_planned, last_planned - 1):
        lost = f"commits/{last_planned - 1}" if last_done < last_planned else f"offsets/{last_done}"
        msg = f"The checkpoint of the {query} query lacks {folder / lost}. {RESTORE}"
        raise ComplaintsError(msg)
    read = {number: _read(folder / "offsets" / str(number), query) for number in sorted(planned)[-2:]}
    return Progress(
        last_planned if planned else None, last_done if done else None, read.get(last_done) if done else None
    )


def unfinished(lake: Lake, query: str) -> tuple[str, int] | None:
    """The query's id and the number of its batch that was planned and isn't done, which the next start runs again.

    Raises:
        ComplaintsError: its checkpoint is damaged.
    """
    folder = Path(lake.checkpoint(query))
    progress = progress_of(folder, query)
    if progress.planned is None or progress.planned == progress.done:
        return None
    return str(_parsed(folder / "metadata", query)["id"]), progress.planned


def read_up_to(folder: Path, batch: int, source: str) -> dict[int, int]:
    """By partition where a batch of the ingesting query was to read a topic up to: the offset after its last message.

    Raises:
        ComplaintsError: the checkpoint is damaged.
    """
    read = _read(folder / "offsets" / str(batch), "ingest")
    return {int(partition): int(offset) for partition, offset in read.get(source, {}).items()}


def reads_in_order(folder: Path, batch: int) -> bool:
    """Whether a query reads a table's commits one after the other from a batch on, beyond what was there at first.

    What a table has at a query's first start comes in no order that tells older rows from newer ones.
    """
    log = folder / "offsets" / str(batch)
    return log.is_file() and _read(log, folder.name).get("isStartingVersion") is False


def _numbers(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if path.name.isdigit()}


def _read(path: Path, query: str) -> dict[str, Any]:
    """What a batch was to read its one source up to: after a version and a common part, a line a source."""
    lines = _text(path, query).splitlines()
    if len(lines) < 3 or lines[0] != "v1":  # noqa: PLR2004 - the lines named above
        raise _torn(path, query)
    _loaded(lines[1], path, query)
    return _loaded(lines[2], path, query)


def _parsed(path: Path, query: str) -> dict[str, Any]:
    return _loaded(_text(path, query), path, query)


def _text(path: Path, query: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _torn(path, query) from error


def _loaded(text: str, path: Path, query: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _torn(path, query) from error
    if not isinstance(content, dict):
        raise _torn(path, query)
    return content


def _torn(path: Path, query: str) -> ComplaintsError:
    return ComplaintsError(
        f"The checkpoint of the {query} query is damaged: {path} is missing or broken off. {RESTORE}"
    )


def dropped_messages(settings: Settings, bootstrap_servers: str) -> str | None:
    """A sentence on messages that Kafka has dropped unread, where `streaming.accept_data_loss` lets them go.

    Raises:
        ComplaintsError: it has dropped some and that isn't accepted, or has lost what was read; says how many, and what
            to do.
    """
    folder = settings.folder / "checkpoints" / "ingest"
    topic = settings.kafka.input.name
    read = (progress_of(folder, "ingest").read or {}).get(topic)
    if read is None or noted(folder) != origin_of(settings.kafka, bootstrap_servers):
        return None  # what was read is of another cluster or topic, and what is read now starts from the beginning
    stood = {int(number): int(offset) for number, offset in read.items()}
    (state,) = (state for state in describe_topics(settings.kafka, bootstrap_servers) if state.name == topic)
    if any(state.offsets.get(number, (0, -1))[1] < offset for number, offset in stood.items()):
        msg = (
            f"The topic {topic} ends before the offset {max(stood.values()):,} up to which it was read: Kafka has lost "
            "messages, and gives their offsets to others. Delete the topic and make it again (`complaints topics "
            "delete`, `complaints topics create`): then it is read from its beginning. Nothing was changed."
        )
        raise ComplaintsError(msg)
    lost = {number: begin - offset for number, offset in stood.items() if (begin := state.offsets[number][0]) > offset}
    if not lost:
        return None
    told = (
        f"Kafka has dropped {sum(lost.values()):,} messages of {topic} that were never read (partition "
        f"{', '.join(map(str, sorted(lost)))}): its retention was shorter than the stream was away."
    )
    if settings.streaming.accept_data_loss:
        return told
    msg = f"{told} Set COMPLAINTS_STREAMING__ACCEPT_DATA_LOSS=true to go on without them."
    raise ComplaintsError(msg)
