"""Whether a query can go on where it stopped: its checkpoint is whole and its topic's or table's, and nothing is lost.

Spark finds out late, in the words of its own code, or not at all: without the file that holds a query's id it would
take a new one, and write a batch twice whose commits carry the old one. Nothing is changed here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.catalogue import Table
from lakehouse.errors import ComplaintsError
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from silver import tables as silver
from streaming.topics import describe_topics

SOURCES = {"refine": bronze.COMPLAINTS, "score": silver.COMPLAINTS, "summarise": gold.DECISIONS}
RESTORE = "Put back the last copy of the whole lake (docs/operations.md, Back up and restore); nothing was changed."


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
        ComplaintsError: it has dropped some and that isn't accepted, or the topic is gone or was made anew; says how
            many, and what to do.
    """
    folder = settings.folder / "checkpoints" / "ingest"
    topic = settings.kafka.input.name
    read = (progress_of(folder, "ingest").read or {}).get(topic)
    if read is None:
        return None
    stood = {int(number): int(offset) for number, offset in read.items()}
    (state,) = (state for state in describe_topics(settings.kafka, bootstrap_servers) if state.name == topic)
    if any(state.offsets.get(number, (0, -1))[1] < offset for number, offset in stood.items()):
        found = "was deleted and made anew" if state.settings else "is gone"
        msg = (
            f"The topic {topic} {found} since it was read up to offset {max(stood.values()):,}; offsets that began "
            f"anew would be taken for earlier ones. Set kafka.input.name to a topic of another name and move {folder} "
            "away; nothing was changed."
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
