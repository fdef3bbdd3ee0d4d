"""Proof that an erased complaint is gone: every file below the root is searched for its words and its number.

Reads all files below the root, unpacked; writes nothing. What the lake can't take out is told: messages that Kafka
keeps, and export files that somebody put into the landing folder.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from bronze.tables import COMPLAINTS as BRONZE
from bronze.tables import ERASURES
from lakehouse.errors import ComplaintsError
from lakehouse.lake import table_path
from lakehouse.searching import UnreadableError, files_below, holds
from lakehouse.settings import Settings
from silver.fields import BY_NAME, normalised
from silver.payload import cells_of
from streaming.whereabouts import names, whole_number

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
    return "\n".join(str(value) for name, value in cells.items() if normalised(name) in keys)


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
    root = settings.folder
    spoken = "|".join(map(re.escape, words))
    numbered = rf"(?i)complaint[ _]?id[\"']\s*:\s*[\"']?0*{complaint_id}\b"
    searched, found, kept = 0, [], dict[str, list[str]]()
    for path in files_below(root):
        say(f"Searching what is left: {searched:,} files.")
        top, *_ = place = path.relative_to(root).parts
        wanted = "|".join(filter(None, (spoken, whole_number(complaint_id) if top == "landing" else numbered)))
        if _is_data(place):
            held = bool(_rows_with(path, place, complaint_id, spoken))
        elif "_delta_log" in place:  # statistics name a number, and nothing that was said
            held = bool(spoken) and _held(path, spoken)
        else:
            held = _held(path, wanted)
        if held and top in _TOLD_SEPARATELY:
            kept.setdefault(top, []).append(path.relative_to(root).as_posix())
        elif held:
            found.append(path.relative_to(root).as_posix())
        searched += not held
    if found:
        msg = (
            f"{len(found)} files in {root} still hold the complaint {complaint_id}, the first is {found[0]}: "
            "remove what made it, then erase it again."
        )
        raise ComplaintsError(msg)
    return Proof(searched, tuple(_told(settings, kept)))


def _held(path: Path, wanted: str) -> bool:
    try:
        return holds(path, wanted)
    except UnreadableError as error:
        msg = f"{path} can't be searched ({error}): mend or remove it, then erase the complaint again."
        raise ComplaintsError(msg) from error


def _is_data(place: Sequence[str]) -> bool:
    return place[0] == "tables" and place[-1].endswith(".parquet") and "_delta_log" not in place


def _rows_with(path: Path, place: Sequence[str], complaint_id: int, spoken: str) -> list[Mapping[str, Any]]:
    """The rows of a table's file that are of this complaint, or say its words and are of no other.

    Many complaints are copies of one letter: a row with the words and another complaint's number is that one's own.
    """
    if f"{place[1]}.{place[2]}" == ERASURES.name:
        return []
    with duckdb.connect() as connection:
        rows = connection.read_parquet(str(path))
        conditions = [f"complaint_id = {complaint_id}"] if "complaint_id" in rows.columns else []
        conditions += [f"regexp_matches(concat_ws(chr(10), *COLUMNS(*)), {_literal(spoken)})"] if spoken else []
        if not conditions:
            return []
        found = rows.filter(" OR ".join(conditions)).fetchall()
        return [row for each in found if _is_of(row := dict(zip(rows.columns, each, strict=True)), complaint_id)]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_of(row: Mapping[str, Any], complaint_id: int) -> bool:
    number = row.get("complaint_id")
    if number is not None:
        return bool(number == complaint_id)
    return names(complaint_id, row.get("payload"), row.get("payload_bytes"))


def _told(settings: Settings, kept: Mapping[str, Sequence[str]]) -> Iterable[str]:
    kafka = settings.kafka
    if settings.kafka.bootstrap_servers is not None or (settings.folder / "broker").is_dir():
        held = f", {len(kept['broker'])} files of the embedded broker's log among them" if "broker" in kept else ""
        yield (
            f"Kafka keeps messages with it on {kafka.input.name} until they are {kafka.input.retention_hours} hours "
            f"old, and decisions on it on {kafka.predictions.name} until it compacts{held}."
        )
    for name in kept.get("landing", ()):
        yield f"The file {name} holds it, and is not the lake's to change: take it out of there."
