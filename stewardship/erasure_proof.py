"""Prove that an erased complaint is gone: search every file below the root for its words and its id.

Reads all files below the root, decompressed; writes nothing. Reports what the lake can't remove: messages in Kafka, and
export files that somebody put into the landing folder.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import duckdb

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from lakehouse.errors import ComplaintsError
from lakehouse.file_search import UnreadableError, files_below, holds
from lakehouse.settings import Settings
from lakehouse.tables.stores import table_path
from silver.fields import BY_NAME, normalized
from silver.payload import cells_of
from stewardship.locations import names, whole_number

WINDOW = 60  # characters per search fragment: long enough to be unique, short enough to match truncated copies
FRAGMENTS = 5
MIN_CHARACTERS, MIN_WORDS = 20, 4
# Characters that every format writes unescaped: no quotes, backslashes, line breaks, or HTML special characters.
_PLAIN = re.compile(r"[ !#-%(-;=?-\[\]-~]+")
MARK = b"PAR1"  # at both ends of a Parquet file
_REPORTED_SEPARATELY = ("broker", "landing")


@dataclass(frozen=True)
class Proof:
    """Result of a search.

    Attributes:
        searched: number of files that were read and don't contain the complaint.
        left: one sentence per place that still holds it and that the lake can't change.
    """

    searched: int
    left: tuple[str, ...]


def words_of(settings: Settings, records: Sequence[str]) -> tuple[str, ...]:
    """Return text fragments that identify copies of these bronze rows; reads files of older versions too.

    A file that a killed writer left unfinished can't be read, and no version of the table has it.
    """
    paths = (path for path in table_path(settings, BRONZE).rglob("*.parquet") if "_delta_log" not in path.parts)
    files = [str(path) for path in paths if _is_finished(path)]
    if not files:
        return ()
    statement = "SELECT payload, payload_bytes FROM read_parquet($files) WHERE list_contains($records, record_id)"
    with duckdb.connect() as connection:
        rows = connection.execute(statement, {"files": files, "records": list(records)}).fetchall()
    payloads = ((raw or b"").decode(errors="replace") if payload is None else payload for payload, raw in rows)
    texts = {_narrative(payload) for payload in payloads}
    return tuple(sorted({fragment for text in texts for fragment in islice(_fragments(text), FRAGMENTS)}))


def _is_finished(path: Path) -> bool:
    """Whether a Parquet file has its end: the footer's length and the format's mark, which are written last."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - len(MARK)))
        return size > 2 * len(MARK) and file.read() == MARK


def _narrative(payload: str) -> str:
    """Return the narrative of a payload, or the whole payload if it can't be parsed."""
    cells = cells_of(payload)
    if cells is None:
        return payload
    keys = BY_NAME["narrative"].keys
    return "\n".join(str(value) for name, value in cells.items() if normalized(name) in keys)


def _fragments(text: str) -> Iterable[str]:
    """Yield runs of plain characters with enough words to identify a text."""
    for run in _PLAIN.findall(text):
        for start in range(0, len(run), WINDOW):
            part = run[start : start + WINDOW].strip()
            words = set(re.findall(r"[a-z]{2,}", re.sub(r"x{2,}", " ", part.lower())))
            if len(part) >= MIN_CHARACTERS and len(words) >= MIN_WORDS:
                yield part


def prove(settings: Settings, complaint_id: int, words: Sequence[str], notify: Callable[[str], None]) -> Proof:
    """Search every file below the root.

    Raises:
        ComplaintsError: a file still holds the complaint or can't be searched; the message names it.
    """
    search = _Search(settings, complaint_id, words)
    searched, found, kept = 0, [], dict[str, list[str]]()
    paths = list(files_below(settings.folder))
    for number, path in enumerate(paths, 1):
        notify(f"Searching the remaining files: {number:,} of {len(paths):,}.")
        name = path.relative_to(settings.folder).as_posix()
        top = name.partition("/")[0]
        if not search.holds(path):
            searched += 1
        elif top in _REPORTED_SEPARATELY:
            kept.setdefault(top, []).append(name)
        else:
            found.append(name)
    if found:
        msg = (
            f"{len(found)} files in {settings.folder} still hold the complaint {complaint_id}, the first is "
            f"{found[0]}: remove them, then erase it again."
        )
        raise ComplaintsError(msg)
    return Proof(searched, tuple(_remaining(settings, kept)))


class _Search:
    """Searches files for one complaint."""

    def __init__(self, settings: Settings, complaint_id: int, words: Sequence[str]) -> None:
        self._root = settings.folder
        self._id = complaint_id
        self._text = "|".join(map(re.escape, words))
        numbered = rf"(?i:complaint[ _]?id[\"']\s*:\s*[\"']?0*{complaint_id}\b)"
        self._anywhere = "|".join(filter(None, (self._text, numbered)))
        self._in_exports = "|".join(filter(None, (self._text, whole_number(complaint_id))))
        self._connection = duckdb.connect()

    def holds(self, path: Path) -> bool:
        """Whether a file holds the complaint.

        Raises:
            ComplaintsError: the file can't be searched.
        """
        place = path.relative_to(self._root).parts
        try:
            if place[0] == "landing":
                return holds(path, self._in_exports)
            if "_delta_log" in place:  # statistics contain ids as bounds, so only the text counts
                return bool(self._text) and holds(path, self._text)
            if place[0] == "tables" and path.suffix == ".parquet":
                return f"{place[1]}.{place[2]}" != ERASURES.name and self._rows_hold(path)
            return holds(path, self._anywhere)
        except (UnreadableError, duckdb.Error) as error:
            if place[0] in _REPORTED_SEPARATELY:
                return True
            msg = f"{path} can't be searched ({error}): remove or fix it, then erase the complaint again."
            raise ComplaintsError(msg) from error

    def _rows_hold(self, path: Path) -> bool:
        """Whether a row of a table file belongs to this complaint, or has its words and belongs to no other.

        Many complaints are copies of one letter: a row with the same words and another id belongs to that complaint.
        """
        described = self._connection.execute("DESCRIBE SELECT * FROM read_parquet($path)", {"path": str(path)})
        present = {str(row[0]) for row in described.fetchall()}
        columns = [
            name if name in present else f"NULL AS {name}" for name in ("complaint_id", "payload", "payload_bytes")
        ]
        spoken = "regexp_matches(concat_ws(chr(10), *COLUMNS(*)), $spoken)" if self._text else "$spoken <> ''"
        is_own = f"complaint_id = {self._id}" if "complaint_id" in present else "false"
        statement = f"SELECT {', '.join(columns)} FROM read_parquet($path) WHERE {spoken} OR {is_own}"  # noqa: S608
        rows = self._connection.execute(statement, {"path": str(path), "spoken": self._text}).fetchall()
        return any(
            names(self._id, payload, raw) if number is None else number == self._id for number, payload, raw in rows
        )


def _remaining(settings: Settings, kept: Mapping[str, Sequence[str]]) -> Iterable[str]:
    kafka = settings.kafka
    if settings.kafka.bootstrap_servers is not None or (settings.folder / "broker").is_dir():
        held = f", including {len(kept['broker'])} files of the embedded broker's log" if "broker" in kept else ""
        yield (
            f"Kafka keeps messages with it on {kafka.input.name} until they are {kafka.input.retention_hours} hours "
            f"old, and decisions on it on {kafka.predictions.name} until compaction{held}."
        )
    for name in kept.get("landing", ()):
        yield f"The file {name} holds it or can't be searched, and the lake doesn't change it: remove it from there."
