"""Generate load from real complaints: rows recombined under new ids, with shares of bad messages.

Reads rows of export files; makes any number of Kafka messages. The same seed gives the same messages.
"""

import json
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from bronze.files import open_members
from lakehouse.errors import ComplaintsError
from silver.fields import BY_NAME, FIELDS, MISSING, normalized
from silver.payload import cells_of

Kind = Literal["new", "malformed", "duplicate", "late", "updated"]
Row = Mapping[str, str | None]

RECENT = 2048  # latest complaints, used for duplicates and updates
LATE_DAYS = (30, 400)
_DISPLAY = {key: field.display for field in FIELDS for key in field.keys}
_DATES = {field.display for field in FIELDS if field.type == "date"}
_STRUCTURE = ("product", "sub_product", "issue", "sub_issue", "company", "state", "zip_code", "tags", "submitted_via")
_OUTCOME = ("company_public_response", "timely_response", "consumer_disputed")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(?:20)?(\d\d)\b")


@dataclass(frozen=True)
class Mix:
    """Shares of messages that are not plain new complaints.

    Attributes:
        malformed: messages that can't be used.
        duplicates: messages that repeat a complaint.
        late: complaints that the CFPB received months ago.
        updated: messages that bring an outcome.
    """

    malformed: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    updated: float = 0.0


class Message(NamedTuple):
    """One Kafka message: its kind, and whether it was generated rather than received."""

    key: bytes
    value: bytes
    kind: Kind
    is_synthetic: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """One real row, as members of a JSON object."""

    structure: bytes
    no_narrative: bytes
    narratives: Sequence[bytes]  # of all rows with the same product
    has_narrative: bool
    outcome: bytes
    days_until_sent: int


class _Complaint(NamedTuple):
    """A generated complaint: its id, and members of a JSON object."""

    id: int
    received: bytes
    structure: bytes
    text: bytes
    source: _Source
    days_ago: int


_Break = Callable[[_Complaint, date], bytes]


class Generator:
    """An endless, reproducible sequence of messages generated from real complaints.

    A new complaint has the structure of one row, a narrative from a row of the same product, and only fields known at
    intake; an update is the same message with the row's outcome. Shares are fractions of all messages.

    Args:
        rows: complaints by display name, as returned by `read_rows`.
        seed: of the random choices.
        first_id: id of the first new complaint; ids ascend from it by one.
        malformed: share of messages that can't be used, cycling through `MALFORMED`.
        duplicates: share that repeats one of the latest `RECENT` complaints byte for byte.
        late: share of new complaints that were received 30 to 400 days before `start`.
        updated: share that brings the outcome of one of the latest `RECENT` complaints, at most once each.
        narratives: share of complaints with a narrative; None keeps the share of the rows.
        start: the day on which new complaints are received.

    Attributes:
        counts: messages made so far, by kind.

    Raises:
        ComplaintsError: there are no rows, shares are out of range, or narratives are requested and no row has one.
    """

    def __init__(  # noqa: PLR0913  # the shares belong together
        self,
        rows: Sequence[Row],
        *,
        seed: int,
        first_id: int,
        malformed: float = 0.0,
        duplicates: float = 0.0,
        late: float = 0.0,
        updated: float = 0.0,
        narratives: float | None = None,
        start: date,
    ) -> None:
        shares: dict[Kind, float] = {"malformed": malformed, "duplicate": duplicates, "late": late, "updated": updated}
        if min(shares.values()) < 0 or sum(shares.values()) > 1 or not 0 <= (narratives or 0) <= 1:
            msg = "Shares of messages must lie between 0 and 1, and malformed, duplicate, late and updated in sum too."
            raise ComplaintsError(msg)
        self._structures = _structures(rows)
        self._with_text = [structure for structure in self._structures if structure.narratives]
        if not self._structures or (narratives and not self._with_text):
            msg = f"Messages can't be made from {len(rows)} rows without a {'narrative' if rows else 'complaint'}."
            raise ComplaintsError(msg)
        self._kinds = list(zip(accumulate(shares.values()), shares, strict=True))
        self._narratives = narratives
        self._draw = random.Random(seed).random  # noqa: S311  # load, not secrets
        self._start = start
        self._days = [_day(start - timedelta(days=days)) for days in range(LATE_DAYS[1] + 1)]
        self._next_id = first_id
        self._recent: deque[Message] = deque(maxlen=RECENT)
        self._open: deque[_Complaint] = deque(maxlen=RECENT)  # have no outcome yet
        self.counts: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)

    def __iter__(self) -> Iterator[Message]:
        """Yield messages endlessly; a new iteration continues where the last one stopped."""
        while True:
            chance = self._draw()
            message = self._next_message(next((kind for bound, kind in self._kinds if chance < bound), "new"))
            self.counts[message.kind] += 1
            yield message

    def _next_message(self, wanted: Kind) -> Message:
        if wanted == "malformed":
            complaint = self._complaint(0)
            broken = _MALFORMED[MALFORMED[self.counts["malformed"] % len(MALFORMED)]]
            return Message(b"%d" % complaint.id, broken(complaint, self._start), "malformed", is_synthetic=True)
        if wanted == "duplicate" and self._recent:
            return self._recent[self._below(len(self._recent))]._replace(kind="duplicate")
        if wanted == "updated" and self._open:
            return self._with_outcome()
        first, last = LATE_DAYS if wanted == "late" else (0, 0)
        complaint = self._complaint(first + self._below(last - first + 1))
        kind: Kind = "late" if wanted == "late" else "new"
        message = Message(b"%d" % complaint.id, _as_bytes(complaint), kind, is_synthetic=True)
        self._recent.append(message)
        self._open.append(complaint)
        return message

    def _complaint(self, days_ago: int) -> _Complaint:
        if self._narratives is None:
            source = self._structures[self._below(len(self._structures))]
            has_text = source.has_narrative
        else:
            has_text = self._draw() < self._narratives
            sources = self._with_text if has_text else self._structures
            source = sources[self._below(len(sources))]
        text = source.narratives[self._below(len(source.narratives))] if has_text else source.no_narrative
        self._next_id += 1
        return _Complaint(self._next_id - 1, self._days[days_ago], source.structure, text, source, days_ago)

    def _with_outcome(self) -> Message:
        at = self._below(len(self._open))
        complaint = self._open[at]
        del self._open[at]
        sent = self._days[max(0, complaint.days_ago - complaint.source.days_until_sent)]
        outcome = b', "Date sent to company": "%b", %b}' % (sent, complaint.source.outcome)
        return Message(b"%d" % complaint.id, _as_bytes(complaint)[:-1] + outcome, "updated", is_synthetic=True)

    def _below(self, end: int) -> int:
        return int(self._draw() * end)


def _as_bytes(complaint: _Complaint) -> bytes:
    return b'{"Date received": "%b", %b, %b, "Complaint ID": "%d"}' % (
        complaint.received,
        complaint.structure,
        complaint.text,
        complaint.id,
    )


def _day(day: date) -> bytes:
    return day.isoformat().encode()


def _with_text(value: bytes) -> _Break:
    return lambda complaint, _: _as_bytes(complaint._replace(text=b'"Consumer complaint narrative": ' + value))


_MALFORMED: Mapping[str, _Break] = {
    "not_json": lambda complaint, _: b"complaint %d: they never called back" % complaint.id,
    "truncated": lambda complaint, _: (
        _as_bytes(complaint)[: -(len(complaint.text) // 2 + 30)].decode(errors="ignore").encode()
    ),
    "array": lambda complaint, _: b"[%b, %b]" % (_as_bytes(complaint), _as_bytes(complaint)),
    "id_of_40_digits": lambda complaint, _: _as_bytes(complaint._replace(id=10**39 + complaint.id)),
    "nul": _with_text(b'"They called \0 at night"'),
    "escaped_nul": _with_text(b'"They called \\u0000 at night"'),
    "wrong_encoding": _with_text(b'"At the caf\xe9 they refused"'),
    "missing_id": lambda complaint, _: _as_bytes(complaint).replace(b'"Complaint ID"', b'"Reference"'),
    "id_not_numeric": lambda complaint, _: _as_bytes(complaint).replace(b'"Complaint ID": "', b'"Complaint ID": "CF-'),
    "date_in_future": lambda complaint, start: _as_bytes(complaint._replace(received=_day(start + timedelta(days=90)))),
    "date_before_2011": lambda complaint, _: _as_bytes(complaint._replace(received=b"2009-04-01")),
    "object_as_field": _with_text(b'{"text": "They called at night"}'),
    "duplicated_key": lambda complaint, _: b'{"Complaint ID": "1", ' + _as_bytes(complaint)[1:],
    "empty": lambda _, __: b"",
}
MALFORMED = tuple(_MALFORMED)  # in the order in which the generator cycles through them


def _structures(rows: Sequence[Row]) -> list[_Source]:
    """Return each row as JSON fragments, with the narratives of all rows of its product."""
    narratives: dict[str | None, list[bytes]] = {}
    for row in rows:
        if text := row.get(BY_NAME["narrative"].display):
            fields = {BY_NAME["narrative"].display: text, BY_NAME["consumer_consent"].display: "Consent provided"}
            narratives.setdefault(row.get(BY_NAME["product"].display), []).append(_members(fields))
    return [_source(row, narratives.get(row.get(BY_NAME["product"].display), [])) for row in rows]


def _source(row: Row, narratives: list[bytes]) -> _Source:
    received, sent = (row.get(BY_NAME[name].display) for name in ("date_received", "date_sent_to_company"))
    consent = row.get(BY_NAME["consumer_consent"].display)
    has_narrative = bool(row.get(BY_NAME["narrative"].display))
    without_text = {
        BY_NAME["narrative"].display: "",
        BY_NAME["consumer_consent"].display: "Consent not provided" if has_narrative else consent or "",
    }
    outcome = {BY_NAME[name].display: row.get(BY_NAME[name].display) or "" for name in _OUTCOME}
    response = row.get(BY_NAME["company_response"].display)
    outcome[BY_NAME["company_response"].display] = (
        response if response and response != "In progress" else "Closed with explanation"
    )
    return _Source(
        structure=_members({BY_NAME[name].display: row.get(BY_NAME[name].display) or "" for name in _STRUCTURE}),
        no_narrative=_members(without_text),
        narratives=narratives,
        has_narrative=has_narrative,
        outcome=_members(outcome),
        days_until_sent=(date.fromisoformat(sent) - date.fromisoformat(received)).days if sent and received else 0,
    )


def _members(fields: Mapping[str, str]) -> bytes:
    """Return the members of a JSON object, without the braces."""
    return json.dumps(fields, ensure_ascii=False)[1:-1].encode()


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """Return the complete rows of export files by display name: dates as ISO text, no missing values.

    Raises:
        ComplaintsError: a file can't be read.
    """
    members = (member for path in paths for member in open_members(path, _DISPLAY.keys()))
    payloads = (record.payload for member in members for record in member.records())
    return [row for payload in payloads if (row := _row(payload or ""))]


def _row(payload: str) -> Row:
    cells = cells_of(payload) or {}  # None for the truncated record at the end of a damaged file
    named = {_DISPLAY.get(normalized(key), ""): str(value).strip() for key, value in cells.items() if value is not None}
    return {
        name: _iso(value) if name in _DATES else value
        for name, value in named.items()
        if name and value.lower() not in MISSING
    }


def _iso(text: str) -> str:
    if us := _US_DATE.match(text):
        month, day, year = map(int, us.groups())
        return date(2000 + year, month, day).isoformat()
    return text[:10]
