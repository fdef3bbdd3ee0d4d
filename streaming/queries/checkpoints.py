"""Check that a query can resume: its checkpoint is intact and its own, and no data was lost.

Spark detects these cases late, with internal error messages, or not at all. The checks are read-only.
"""

import json
import time
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

TRIES = 3  # a batch that ends between two reads of a checkpoint makes it look damaged
PAUSE = 0.2
SOURCES = {
    "refine": bronze.COMPLAINTS,
    "merge": silver.OUTCOME_REPORTS,
    "score": silver.COMPLAINTS,
    "revise": silver.REVISIONS,
    "summarise": gold.DECISIONS,
}
RESTORE = (
    "Restore the last copy of the whole lake (docs/operations.md, Back up and restore), or move that folder away: "
    "then its query reads everything again and adds what is missing; nothing was changed."
)


@dataclass(frozen=True)
class Progress:
    """Progress of a query according to its checkpoint.

    Attributes:
        planned: the latest planned batch; None before the first.
        done: the latest completed batch; None before the first.
        read: the source's end offset as of the latest completed batch; None before the first.
    """

    planned: int | None
    done: int | None
    read: dict[str, Any] | None


def check_checkpoint(lake: Lake, query: str) -> None:
    """Reject a local query whose checkpoint is damaged or belongs to another topic or table.

    Raises:
        ComplaintsError: the checkpoint is not usable; the message names the file and the remedy.
    """
    if not lake.settings.platform.tables_are_files:
        return
    folder = Path(lake.checkpoint(query))
    progress = progress_of(folder, query)
    if progress.read is None:
        return
    if query in SOURCES:
        _check_table(lake, folder, SOURCES[query], progress.read)
        if query == "summarise":
            _check_aggregates(lake, folder, progress.planned)
        return
    topic = lake.settings.kafka.input.name
    if list(progress.read) != [topic]:
        msg = (
            f"The checkpoint in {folder} reads the topic {', '.join(progress.read)}, but kafka.input.name is "
            f"{topic}: set that back, or move the folder away to read {topic} from its beginning; nothing was changed."
        )
        raise ComplaintsError(msg)


def _check_table(lake: Lake, folder: Path, table: Table, read: dict[str, Any]) -> None:
    if read.get("reservoirId") != lake.table_id(table):
        msg = (
            f"The checkpoint in {folder} reads a different {table.name} from the one in the lake, as happens "
            f"when one of the two was replaced. {RESTORE}"
        )
        raise ComplaintsError(msg)


def _check_aggregates(lake: Lake, folder: Path, planned: int | None) -> None:
    """Reject a checkpoint older than the aggregates: its next batches would be added to the sums twice."""
    query_id = str(_read_object(folder / "metadata", "summarise")["id"])
    last = max((newest(lake, table, query_id) for table in INCREMENTS), default=-1)
    if last > (planned or 0):
        msg = (
            f"The checkpoint in {folder} is at batch {planned}, but gold already has batch {last}, as happens when "
            "an older copy was restored. Move the folder away: then the sums are rebuilt from gold.decisions; "
            "nothing was changed."
        )
        raise ComplaintsError(msg)


def progress_of(folder: Path, query: str) -> Progress:
    """Return the progress of a query.

    Raises:
        ComplaintsError: the checkpoint is damaged.
    """
    if not folder.is_dir():
        return Progress(None, None, None)
    planned, done = _numbers(folder / "offsets"), _numbers(folder / "commits")
    if planned or done:
        _read_object(folder / "metadata", query)
    last_planned, last_done = max(planned, default=-1), max(done, default=-1)
    if last_done not in (last_planned, last_planned - 1):
        lost = f"commits/{last_planned - 1}" if last_done < last_planned else f"offsets/{last_done}"
        msg = f"The checkpoint of the {query} query is missing {folder / lost}. {RESTORE}"
        raise ComplaintsError(msg)
    read = {number: _read(folder / "offsets" / str(number), query) for number in sorted(planned)[-2:]}
    return Progress(
        last_planned if planned else None, last_done if done else None, read.get(last_done) if done else None
    )


def running_progress(settings: Settings, query: str) -> Progress:
    """Return the progress of a query, also while a stream runs.

    Raises:
        ComplaintsError: the checkpoint is damaged.
    """
    folder = settings.folder / "checkpoints" / query
    for _ in range(TRIES - 1):
        try:
            return progress_of(folder, query)
        except ComplaintsError:
            time.sleep(PAUSE)
    return progress_of(folder, query)


def unfinished(lake: Lake, query: str) -> tuple[str, int] | None:
    """Return the query id and the batch that was planned but not completed; the next start reruns it.

    Raises:
        ComplaintsError: the checkpoint is damaged.
    """
    folder = Path(lake.checkpoint(query))
    progress = progress_of(folder, query)
    if progress.planned is None or progress.planned == progress.done:
        return None
    return str(_read_object(folder / "metadata", query)["id"]), progress.planned


def read_up_to(folder: Path, batch: int, source: str) -> dict[int, int]:
    """Return the end offset (exclusive) of each partition for a batch of the ingest query.

    Raises:
        ComplaintsError: the checkpoint is damaged.
    """
    read = _read(folder / "offsets" / str(batch), "ingest")
    return {int(partition): int(offset) for partition, offset in read.get(source, {}).items()}


def reads_in_order(folder: Path, batch: int) -> bool:
    """Whether a query is past its table's initial snapshot and reads commit by commit from a batch on.

    The initial snapshot arrives in no particular order, so it doesn't separate older rows from newer ones.
    """
    log = folder / "offsets" / str(batch)
    return log.is_file() and _read(log, folder.name).get("isStartingVersion") is False


def _numbers(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if path.name.isdigit()}


def _read(path: Path, query: str) -> dict[str, Any]:
    """Return a batch's end offset; the log has a version line, a metadata line, and one line per source."""
    lines = _text(path, query).splitlines()
    if len(lines) < 3 or lines[0] != "v1":  # noqa: PLR2004 - the lines named above
        raise _damaged(path, query)
    _parse_object(lines[1], path, query)
    return _parse_object(lines[2], path, query)


def _read_object(path: Path, query: str) -> dict[str, Any]:
    return _parse_object(_text(path, query), path, query)


def _text(path: Path, query: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, query) from error


def _parse_object(text: str, path: Path, query: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _damaged(path, query) from error
    if not isinstance(content, dict):
        raise _damaged(path, query)
    return content


def _damaged(path: Path, query: str) -> ComplaintsError:
    return ComplaintsError(
        f"The checkpoint of the {query} query is damaged: {path} is missing or incomplete. {RESTORE}"
    )


def read_offsets(settings: Settings, bootstrap_servers: str) -> dict[int, int] | None:
    """Return the offset by partition up to which the ingest query has read the input topic.

    None if it has read nothing of this topic: the checkpoint is of another cluster or topic, or there is none.

    Raises:
        ComplaintsError: the checkpoint is damaged, the brokers can't be reached, or the topic doesn't exist.
    """
    read = (running_progress(settings, "ingest").read or {}).get(settings.kafka.input.name)
    origin = noted(settings.folder / "checkpoints" / "ingest")
    if read is None or origin != origin_of(settings.kafka, bootstrap_servers):
        return None
    return {int(number): int(offset) for number, offset in read.items()}


def dropped_messages(settings: Settings, bootstrap_servers: str) -> str | None:
    """Describe messages that Kafka deleted before they were read, if `streaming.accept_data_loss` is set.

    Raises:
        ComplaintsError: messages were deleted unread and that isn't accepted, or Kafka lost messages that were read;
            the message gives the count and the remedy.
    """
    topic = settings.kafka.input.name
    positions = read_offsets(settings, bootstrap_servers)
    if positions is None:
        return None  # it starts at its beginning
    (state,) = (state for state in describe_topics(settings.kafka, bootstrap_servers) if state.name == topic)
    if any(state.offsets.get(number, (0, -1))[1] < offset for number, offset in positions.items()):
        msg = (
            f"The topic {topic} ends before the offset {max(positions.values()):,} up to which it was read: Kafka "
            "has lost messages, and reuses their offsets. Delete the topic and create it again (`complaints topics "
            "delete`, `complaints topics create`): then it is read from its beginning. Nothing was changed."
        )
        raise ComplaintsError(msg)
    begins = {number: state.offsets[number][0] for number in positions}
    lost = {number: begins[number] - offset for number, offset in positions.items() if begins[number] > offset}
    if not lost:
        return None
    loss = (
        f"Kafka has dropped {sum(lost.values()):,} messages of {topic} that were never read (partition "
        f"{', '.join(map(str, sorted(lost)))}): retention is shorter than the stream's downtime."
    )
    if settings.streaming.accept_data_loss:
        return loss
    msg = f"{loss} Set COMPLAINTS_STREAMING__ACCEPT_DATA_LOSS=true to continue without them."
    raise ComplaintsError(msg)
