"""Generate load from real complaints: rows recombined under new ids, which come again and with shares of bad messages.

Reads rows of export files; makes any number of Kafka messages. The same seed gives the same messages. A complaint
depends only on the seed and its id, so any one of millions can come again without being kept.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

from bronze.files import open_members
from lakehouse.errors import ComplaintsError
from silver.fields import BY_NAME, FIELDS, MISSING, normalized
from silver.payload import cells_of

Kind = Literal["new", "malformed", "duplicate", "late", "updated", "revised", "narrated"]
Row = Mapping[str, str | None]
_T = TypeVar("_T")

FIRST_GENERATED_ID = 100_000_000  # above the CFPB's own ids
TRIES = 64  # draws of a complaint that can still come again, before a new one is sent instead
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
        revised: messages that correct a complaint's intake.
        narrated: messages that bring a narrative to a complaint that had none.
    """

    malformed: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    updated: float = 0.0
    revised: float = 0.0
    narrated: float = 0.0

    @property
    def shares(self) -> dict[Kind, float]:
        """The shares by kind of message; late complaints are new ones."""
        return {
            "malformed": self.malformed,
            "duplicate": self.duplicates,
            "updated": self.updated,
            "revised": self.revised,
            "narrated": self.narrated,
        }


# The life of complaints: most come again.
LIFE = Mix(malformed=0.01, duplicates=0.03, late=0.05, updated=0.3, revised=0.02, narrated=0.01)


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
    """A generated complaint: its id, and members of a JSON object.

    `later_text` is a narrative that comes in a later message; empty if none does.
    """

    id: int
    received: bytes
    structure: bytes
    text: bytes
    later_text: bytes
    revised: bytes
    source: _Source
    days_ago: int


_Break = Callable[[_Complaint, date], bytes]


class Generator:
    """An endless, reproducible sequence of messages generated from real complaints.

    A new complaint has the structure of one row, a narrative from a row of the same product, and only fields known at
    intake. Complaints that come again are drawn evenly from all there are: an update is the same message with the
    row's outcome, a revision has the structure of another row. Shares are fractions of all messages.

    Args:
        rows: complaints by display name, as returned by `read_rows`.
        mix: the shares of messages that are not plain new complaints; malformed ones cycle through `MALFORMED`, late
            complaints were received 30 to 400 days before `start`, outcomes and narratives come at most once for each.
        seed: of the random choices.
        first_id: id of the first new complaint; ids ascend from it by one.
        known: complaints with the ids before it that there are already: `known_messages` of a generator with the same
            rows, mix, seed and start.
        narratives: share of complaints with a narrative; None keeps the share of the rows.
        start: the day on which new complaints are received.

    Attributes:
        counts: messages made so far, by kind.

    Raises:
        ComplaintsError: there are no rows, shares are out of range, or narratives are requested and no row has one.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        mix: Mix,
        *,
        seed: int,
        first_id: int,
        known: int = 0,
        narratives: float | None = None,
        start: date,
    ) -> None:
        shares = mix.shares
        again = sum(shares.values())
        if min(*shares.values(), mix.late) < 0 or again + mix.late > 1 or not 0 <= (narratives or 0) <= 1:
            msg = "Shares of messages must lie between 0 and 1, and those of all kinds in sum too."
            raise ComplaintsError(msg)
        self._structures = _structures(rows)
        self._with_text = [structure for structure in self._structures if structure.narratives]
        if not self._structures or (narratives and not self._with_text):
            msg = f"Messages can't be made from {len(rows)} rows without a {'narrative' if rows else 'complaint'}."
            raise ComplaintsError(msg)
        self._kinds = list(zip(accumulate(shares.values()), shares, strict=True))
        self._late = mix.late / (1 - again) if again < 1 else 0.0
        # Twice as many complaints first come without their narrative as will bring it later, so that one is found.
        self._silent = min(1.0, 2 * mix.narrated / (1 - again)) if again < 1 else 0.0
        self._narratives = narratives
        self._seed = seed
        self._draw = random.Random(seed).random  # noqa: S311  # load, not secrets
        self._start = start
        self._days = [_day(start - timedelta(days=days)) for days in range(LATE_DAYS[1] + 1)]
        self._first_id, self._next_id = first_id - known, first_id
        self._unusable: set[int] = set()
        self._answered: set[int] = set()
        self._told: set[int] = set()
        self.counts: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)

    def __iter__(self) -> Iterator[Message]:
        """Yield messages endlessly; a new iteration continues where the last one stopped."""
        while True:
            chance = self._draw()
            message = self._next_message(next((kind for bound, kind in self._kinds if chance < bound), "new"))
            self.counts[message.kind] += 1
            yield message

    def known_messages(self) -> Iterator[Message]:
        """Yield the first message of each complaint that there is already, in the order of their ids."""
        return (self._first(number) for number in range(self._first_id, self._next_id))

    def _next_message(self, wanted: Kind) -> Message:
        if wanted == "malformed":
            broken = _MALFORMED[MALFORMED[self.counts["malformed"] % len(MALFORMED)]]
            complaint = self._complaint(self._take_id())
            self._unusable.add(complaint.id)
            return Message(b"%d" % complaint.id, broken(complaint, self._start), "malformed", is_synthetic=True)
        again = {"duplicate": self._duplicate, "updated": self._updated, "revised": self._revised}
        again["narrated"] = self._with_narrative
        message = again[wanted]() if wanted in again else None
        return message or self._first(self._take_id())

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _first(self, number: int) -> Message:
        complaint = self._complaint(number)
        return _message(complaint, "late" if complaint.days_ago else "new")

    def _complaint(self, number: int) -> _Complaint:
        """Return a complaint by its id: everything about it is drawn from the seed and the id."""
        draw = random.Random(self._seed << 64 | number).random  # noqa: S311  # load, not secrets

        def one_of(values: Sequence[_T]) -> _T:
            return values[int(draw() * len(values))]

        source = one_of(self._structures)
        has_text = source.has_narrative
        if self._narratives is not None:
            has_text = draw() < self._narratives
            source = one_of(self._with_text) if has_text else source
        text = one_of(source.narratives) if has_text else source.no_narrative
        is_later = has_text and draw() < self._silent
        days_ago = LATE_DAYS[0] + int(draw() * (LATE_DAYS[1] - LATE_DAYS[0] + 1)) if draw() < self._late else 0
        return _Complaint(
            number,
            self._days[days_ago],
            source.structure,
            source.no_narrative if is_later else text,
            text if is_later else b"",
            one_of(self._structures).structure,
            source,
            days_ago,
        )

    def _earlier(self) -> Iterator[_Complaint]:
        """Yield complaints that can come again, drawn evenly, `TRIES` at most."""
        there = self._next_id - self._first_id
        ids = (self._first_id + int(self._draw() * there) for _ in range(TRIES if there else 0))
        return (self._complaint(number) for number in ids if number not in self._unusable)

    def _duplicate(self) -> Message | None:
        return next((_message(complaint, "duplicate") for complaint in self._earlier()), None)

    def _revised(self) -> Message | None:
        again = (complaint._replace(structure=complaint.revised) for complaint in self._earlier())
        return next((_message(complaint, "revised") for complaint in again), None)

    def _updated(self) -> Message | None:
        complaint = next((c for c in self._earlier() if c.id not in self._answered), None)
        if complaint is None:
            return None
        self._answered.add(complaint.id)
        sent = self._days[max(0, complaint.days_ago - complaint.source.days_until_sent)]
        return _message(complaint, "updated", b', "Date sent to company": "%b", %b}' % (sent, complaint.source.outcome))

    def _with_narrative(self) -> Message | None:
        silent = (c for c in self._earlier() if c.later_text and c.id not in self._told)
        complaint = next(silent, None)
        if complaint is None:
            return None
        self._told.add(complaint.id)
        return _message(complaint._replace(text=complaint.later_text), "narrated")


def _message(complaint: _Complaint, kind: Kind, end: bytes = b"}") -> Message:
    return Message(b"%d" % complaint.id, _as_bytes(complaint)[:-1] + end, kind, is_synthetic=True)


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
