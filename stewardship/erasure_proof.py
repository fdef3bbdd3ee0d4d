"""Proof that an erased complaint is gone: every file below the root is searched for its words and its number.

Reads all files below the root, unpacked; writes nothing. What the lake can't take out is told: messages that Kafka
keeps, and export files that somebody put into the landing folder.
"""

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
from lakehouse.tables.lake import table_path
from silver.fields import BY_NAME, normalized
from silver.payload import cells_of
from stewardship.locations import names, whole_number

WINDOW = 60  # characters of what is searched for: long enough to be nobody else's, short enough to be found cut
FRAGMENTS = 5
LEAST_CHARACTERS, LEAST_WORDS = 20, 4
# Characters that no format writes otherwise than they are: no quotes, backslashes, line ends, or what HTML escapes.
_PLAIN = re.compile(r"[ !#-%(-;=?-\[\]-~]+")
_TOLD_SEPARATELY = ("broker", "landing")


@dataclass(frozen=True)
class Proof:
    """What a search found.

    Attributes:
        searched: files that were read and hold nothing of the complaint.
        left: a sentence for each thing that still holds it and that the lake can't change.
    """

    searched: int
    left: tuple[str, ...]


def words_of(settings: Settings, records: Sequence[str]) -> tuple[str, ...]:
    """Parts of what these rows of bronze say, by which a copy of it is known; from files of older versions too."""
    files = [str(path) for path in table_path(settings, BRONZE).rglob("*.parquet") if "_delta_log" not in path.parts]
    if not files:
        return ()
    statement = "SELECT payload, payload_bytes FROM read_parquet($files) WHERE list_contains($records, record_id)"
    with duckdb.connect() as connection:
        rows = connection.execute(statement, {"files": files, "records": list(records)}).fetchall()
    texts = {_said(payload if payload is not None else (raw or b"").decode(errors="replace")) for payload, raw in rows}
    return tuple(sorted({fragment for text in texts for fragment in islice(_fragments(text), FRAGMENTS)}))


def _said(payload: str) -> str:
    """The narrative of a payload; of one that can't be read, all of it."""
    cells = cells_of(payload)
    if cells is None:
        return payload
    keys = BY_NAME["narrative"].keys
    return "\n".join(str(value) for name, value in cells.items() if normalized(name) in keys)


def _fragments(text: str) -> Iterable[str]:
    """Stretches of plain characters with enough words to be somebody's own."""
    for run in _PLAIN.findall(text):
        for start in range(0, len(run), WINDOW):
            part = run[start : start + WINDOW].strip()
            words = set(re.findall(r"[a-z]{2,}", re.sub(r"x{2,}", " ", part.lower())))
            if len(part) >= LEAST_CHARACTERS and len(words) >= LEAST_WORDS:
                yield part


def prove(settings: Settings, complaint_id: int, words: Sequence[str], say: Callable[[str], None]) -> Proof:
    """Search every file below the root.

    Raises:
        ComplaintsError: a file still holds the complaint, or can't be searched; names it.
    """
    search = _Search(settings, complaint_id, words)
    searched, found, kept = 0, [], dict[str, list[str]]()
    for path in files_below(settings.folder):
        say(f"Searching what is left: {searched:,} files.")
        name = path.relative_to(settings.folder).as_posix()
        top = name.partition("/")[0]
        if not search.holds(path):
            searched += 1
        elif top in _TOLD_SEPARATELY:
            kept.setdefault(top, []).append(name)
        else:
            found.append(name)
    if found:
        msg = (
            f"{len(found)} files in {settings.folder} still hold the complaint {complaint_id}, the first is "
            f"{found[0]}: remove them, then erase it again."
        )
        raise ComplaintsError(msg)
    return Proof(searched, tuple(_told(settings, kept)))


class _Search:
    """Looks for one complaint in one file after the other."""

    def __init__(self, settings: Settings, complaint_id: int, words: Sequence[str]) -> None:
        self._root = settings.folder
        self._id = complaint_id
        self._spoken = "|".join(map(re.escape, words))
        numbered = rf"(?i:complaint[ _]?id[\"']\s*:\s*[\"']?0*{complaint_id}\b)"
        self._anywhere = "|".join(filter(None, (self._spoken, numbered)))
        self._in_exports = "|".join(filter(None, (self._spoken, whole_number(complaint_id))))
        self._connection = duckdb.connect()

    def holds(self, path: Path) -> bool:
        """Whether a file holds the complaint.

        Raises:
            ComplaintsError: it can't be searched.
        """
        place = path.relative_to(self._root).parts
        try:
            if place[0] == "landing":
                return holds(path, self._in_exports)
            if "_delta_log" in place:  # statistics name a number, and nothing that was said
                return bool(self._spoken) and holds(path, self._spoken)
            if place[0] == "tables" and path.suffix == ".parquet":
                return f"{place[1]}.{place[2]}" != ERASURES.name and self._rows_hold(path)
            return holds(path, self._anywhere)
        except (UnreadableError, duckdb.Error) as error:
            if place[0] in _TOLD_SEPARATELY:
                return True
            msg = f"{path} can't be searched ({error}): remove it or put it right, then erase the complaint again."
            raise ComplaintsError(msg) from error

    def _rows_hold(self, path: Path) -> bool:
        """Whether a row of a table's file is of this complaint, or says its words and is of no other.

        Many complaints are copies of one letter: a row with the words and another complaint's number is that one's own.
        """
        described = self._connection.execute("DESCRIBE SELECT * FROM read_parquet($path)", {"path": str(path)})
        there = {str(row[0]) for row in described.fetchall()}
        columns = [
            name if name in there else f"NULL AS {name}" for name in ("complaint_id", "payload", "payload_bytes")
        ]
        spoken = "regexp_matches(concat_ws(chr(10), *COLUMNS(*)), $spoken)" if self._spoken else "$spoken <> ''"
        is_own = f"complaint_id = {self._id}" if "complaint_id" in there else "false"
        statement = f"SELECT {', '.join(columns)} FROM read_parquet($path) WHERE {spoken} OR {is_own}"  # noqa: S608
        rows = self._connection.execute(statement, {"path": str(path), "spoken": self._spoken}).fetchall()
        return any(
            names(self._id, payload, raw) if number is None else number == self._id for number, payload, raw in rows
        )


def _told(settings: Settings, kept: Mapping[str, Sequence[str]]) -> Iterable[str]:
    kafka = settings.kafka
    if settings.kafka.bootstrap_servers is not None or (settings.folder / "broker").is_dir():
        held = f", {len(kept['broker'])} files of the embedded broker's log among them" if "broker" in kept else ""
        yield (
            f"Kafka keeps messages with it on {kafka.input.name} until they are {kafka.input.retention_hours} hours "
            f"old, and decisions on it on {kafka.predictions.name} until it compacts{held}."
        )
    for name in kept.get("landing", ()):
        yield f"The file {name} holds it or can't be searched, and is not the lake's to change: take it out of there."
