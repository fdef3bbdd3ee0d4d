"""List, count and export quarantined rows without Spark, and read fixed rows back.

Reads silver.quarantine and bronze.complaints; works while a stream runs. Grain: one row per row of silver.quarantine.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bronze.records import is_text
from lakehouse.errors import ComplaintsError
from lakehouse.rules.files import read_rules
from lakehouse.settings import CONF, Settings
from lakehouse.sql.query import query
from silver.expectations import Expectation
from silver.parse import OVERSIZED_SHOWN
from silver.refine import NARRATIVE_WITHOUT_COMPLAINT, PAYLOAD_SHOWN
from streaming.tables import TABLES

COUNTS = """
    SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM silver.quarantine WHERE replayed_at IS NULL)
    GROUP BY reason ORDER BY count(*) DESC, reason
"""
WAITING = "SELECT count(*) FROM silver.quarantine WHERE replayed_at IS NULL"
ROWS = """
    SELECT record_id, reasons, source, topic, "partition", "offset", file, line, ingested_at, refined_at, payload
    FROM silver.quarantine
    WHERE replayed_at IS NULL AND ($reason IS NULL OR list_contains(reasons, $reason))
    ORDER BY refined_at DESC, ingested_at DESC, record_id
    LIMIT $limit
"""
WHOLE = "SELECT record_id, payload FROM bronze.complaints WHERE list_contains($ids, record_id)"
NO_LIMIT = 2**62
_CUT_LENGTHS = {PAYLOAD_SHOWN, OVERSIZED_SHOWN}  # lengths of payloads that silver has truncated


@dataclass(frozen=True)
class Waiting:
    """Rows waiting in quarantine.

    Attributes:
        total: total number of rows.
        reasons: number of rows by broken rule; a row may break several.
        rows: the requested rows, newest first, each with its whole payload (null if it is not text).
    """

    total: int
    reasons: Mapping[str, int]
    rows: Sequence[Mapping[str, Any]]


def waiting(settings: Settings, reason: str | None, limit: int | None) -> Waiting:
    """Return waiting rows, of one reason or all; `limit` applies to the rows, not to the counts.

    Raises:
        ComplaintsError: the reason is unknown, or there is no lake yet.
    """
    counts = {str(name): int(count) for name, count in query(settings, TABLES, COUNTS).rows}
    if reason is not None:
        check_reason(reason, counts)
    found = query(settings, TABLES, ROWS, {"reason": reason, "limit": NO_LIMIT if limit is None else limit})
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    total = int(query(settings, TABLES, WAITING).rows[0][0])
    return Waiting(total, counts, _with_whole_payloads(settings, rows))


def _with_whole_payloads(settings: Settings, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with truncated payloads replaced by the whole ones from bronze."""
    cut = [row["record_id"] for row in rows if row["payload"] and len(row["payload"]) in _CUT_LENGTHS]
    found = query(settings, TABLES, WHOLE, {"ids": cut}).rows if cut else ()
    whole = {str(record_id): payload for record_id, payload in found}
    return [{**row, "payload": whole.get(row["record_id"], row["payload"])} for row in rows]


def check_reason(reason: str, present: Mapping[str, int]) -> None:
    """Reject a reason that is neither a current rule nor in the table (as reasons of former rules are).

    Raises:
        ComplaintsError: the reason is unknown; the message lists the known ones.
    """
    rules = read_rules(CONF / "expectations.yaml").rules("expectations", Expectation)
    declared = [rule.id for _, rule in rules if rule.severity == "quarantine"]
    known = list(dict.fromkeys([*declared, NARRATIVE_WITHOUT_COMPLAINT, *present]))
    if reason not in known:
        near = difflib.get_close_matches(reason, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        msg = f"There is no reason '{reason}'.{hint} Known are {', '.join(known)}."
        raise ComplaintsError(msg)


def export(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as JSON lines, to be fixed and passed to `quarantine replay --from`.

    Raises:
        ComplaintsError: the file can't be written.
    """
    text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{path} can't be written ({error.strerror}): choose another file."
        raise ComplaintsError(msg) from error


def read_replacements(path: Path) -> dict[str, str | None]:
    """Read fixed payloads from a JSON lines file, by record_id; other keys are ignored.

    A payload may be text or a JSON object; null keeps the row as bronze has it.

    Raises:
        ComplaintsError: the file can't be read, or a line isn't such a row; the message names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: payloads may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        msg = f"{path} can't be read ({reason}): pass a fixed copy of the file that `quarantine list --export` wrote."
        raise ComplaintsError(msg) from error
    fixed: dict[str, str | None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record_id, payload = _parse_row(line, f"{path}:{number}")
        if record_id in fixed:
            msg = f"{path}:{number} repeats the record_id {record_id}: keep one of the two lines."
            raise ComplaintsError(msg)
        fixed[record_id] = payload
    return fixed


def _parse_row(line: str, where: str) -> tuple[str, str | None]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        msg = f"{where} is not JSON ({error.msg} at character {error.pos + 1}): each line is one JSON object."
        raise ComplaintsError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{where} can't be read ({error}): pass such a payload as text."
        raise ComplaintsError(msg) from error
    if not isinstance(row, dict) or not isinstance(row.get("record_id"), str) or "payload" not in row:
        msg = f"{where} is not a quarantined row: each line is a JSON object with record_id and payload."
        raise ComplaintsError(msg)
    payload = row["payload"]
    if payload is not None and not isinstance(payload, str | dict):
        msg = f"{where}: the payload is a {type(payload).__name__}, but must be text or a JSON object."
        raise ComplaintsError(msg)
    text = json.dumps(payload, ensure_ascii=False) if isinstance(payload, dict) else payload
    if not is_text(text or ""):
        msg = f"{where}: the payload contains an unpaired surrogate (\\ud800 to \\udfff), which is not a character."
        raise ComplaintsError(msg)
    return row["record_id"], text
