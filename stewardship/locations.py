"""Locate a complaint's rows in every layer, without Spark, also while a stream runs.

Reads all layers; quarantine has no complaint id column, so bronze's payloads are searched for the id.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bronze.tables import ERASURES
from lakehouse.settings import Settings
from lakehouse.sql.query import query
from lakehouse.tables.stores import table_path
from silver.fields import BY_NAME, normalized
from silver.payload import cells_of
from streaming.tables import TABLES

KNOWN = """
    SELECT record_id FROM silver.complaints WHERE complaint_id = $id
    UNION SELECT record_id FROM silver.revisions WHERE complaint_id = $id
    UNION SELECT record_id FROM silver.narratives WHERE complaint_id = $id
    UNION SELECT record_id FROM silver.outcomes WHERE complaint_id = $id
    UNION SELECT record_id FROM silver.duplicates WHERE complaint_id = $id
"""
# A blob's text escapes non-ASCII bytes, so the characters next to the id are not checked there. Without NULs, UTF-16's
# digits read like UTF-8's.
NAMING = """
    SELECT record_id, payload, payload_bytes FROM bronze.complaints
    WHERE regexp_matches(replace(payload, chr(0), ''), $whole)
       OR contains(replace(payload_bytes::VARCHAR, '\\x00', ''), $text)
"""
REPLAYS = """
    SELECT record_id FROM bronze.complaints WHERE list_contains($records, replay_of)
    UNION SELECT replay_of FROM bronze.complaints WHERE list_contains($records, record_id) AND replay_of IS NOT NULL
"""
ERASED = """
    SELECT record_id, complaint_id, destination, asked_at, erased_at FROM bronze.erasures WHERE complaint_id = $id
"""
STEPS = """
    WITH arrived AS (SELECT * FROM bronze.complaints WHERE list_contains($records, record_id))
    SELECT * FROM (
        SELECT 1 AS place, 'kafka' AS step, kafka_timestamp AS "at", record_id,
               concat('offset ', "offset", ' of ', topic, ' partition ', "partition") AS what
        FROM arrived WHERE topic IS NOT NULL
        UNION ALL
        SELECT 2, 'bronze', ingested_at, record_id,
               CASE WHEN source = 'replay' THEN concat('mended from ', replay_of)
                    WHEN file IS NOT NULL THEN concat(file, ':', line) ELSE '' END
        FROM arrived
        UNION ALL
        SELECT 3, 'silver', refined_at, record_id, array_to_string(warnings, ', ')
        FROM silver.complaints WHERE complaint_id = $id
        UNION ALL
        SELECT 3, 'quarantine', refined_at, record_id, array_to_string(reasons, ', ')
        FROM silver.quarantine WHERE list_contains($records, record_id)
        UNION ALL
        SELECT 3, 'duplicate', refined_at, record_id, array_to_string(list_prepend(kind, changed_fields), ', ')
        FROM silver.duplicates WHERE complaint_id = $id
        UNION ALL
        SELECT 4, 'revision', refined_at, record_id,
               concat('version ', version, ': ', array_to_string(changed_fields, ', '))
        FROM silver.revisions WHERE complaint_id = $id
        UNION ALL
        SELECT 4, 'narrative', refined_at, record_id, '' FROM silver.narratives WHERE complaint_id = $id
        UNION ALL
        SELECT 4, 'outcome', observed_at, record_id, coalesce(response_class, '')
        FROM silver.outcomes WHERE complaint_id = $id
        UNION ALL
        SELECT 4, change, observed_at, '', concat('by ', file) FROM silver.withdrawals WHERE complaint_id = $id
        UNION ALL
        SELECT 4, 'replayed', replayed_at, record_id, ''
        FROM silver.quarantine WHERE list_contains($records, record_id) AND replayed_at IS NOT NULL
        UNION ALL
        SELECT 5, 'decision', scored_at, record_id,
               concat(urgency, ' to ', team, ', probability ', round(probability, 3), ' by ', model_name, ' version ',
                      model_version, ', on version ' || nullif(version, 1) || ' of the intake')
        FROM gold.decisions WHERE complaint_id = $id
    ) ORDER BY "at", place, record_id
"""
DESTINATIONS = """
    SELECT record_id, 'silver' FROM silver.complaints WHERE list_contains($records, record_id)
    UNION ALL SELECT record_id, 'quarantine' FROM silver.quarantine WHERE list_contains($records, record_id)
    UNION ALL SELECT record_id, 'duplicates' FROM silver.duplicates WHERE list_contains($records, record_id)
"""


@dataclass(frozen=True)
class Step:
    """One step in a complaint's history.

    Attributes:
        step: kafka, bronze, silver, quarantine, duplicate, revision, narrative, outcome, withdrawn, returned, replayed,
            decision or published.
        at: time in UTC; None if unknown.
        record_id: the row of bronze that took this step; empty for what a full export lacked or had again.
        what: reasons, kind of duplicate, decision with its model, or location; never the complaint's text.
    """

    step: str
    at: datetime | None
    record_id: str
    what: str


def records_of(settings: Settings, complaint_id: int) -> list[str]:
    """Return the rows of bronze that come from a complaint, sorted.

    These are rows that silver has under its id, rows whose payload has the id, unparsable rows that contain the number,
    and the fixed versions and originals of all these.

    Raises:
        ComplaintsError: there is no lake yet.
    """
    found = {str(row[0]) for row in query(settings, TABLES, KNOWN, {"id": complaint_id}).rows}
    parameters = {"whole": whole_number(complaint_id), "text": str(complaint_id)}
    rows = query(settings, TABLES, NAMING, parameters).rows
    found |= {str(record) for record, text, raw in rows if names(complaint_id, text, raw)}
    replays = query(settings, TABLES, REPLAYS, {"records": sorted(found)}).rows if found else ()
    return sorted(found | {str(row[0]) for row in replays})


def whole_number(complaint_id: int) -> str:
    """Return a pattern that matches the number where it isn't part of a longer one."""
    return rf"(^|[^0-9])0*{complaint_id}([^0-9]|$)"


def names(complaint_id: int, payload: str | None, payload_bytes: bytes | None) -> bool:
    """Whether a payload has this complaint id; if it is not an object with a complaint, whether it has the number."""
    text = payload if payload is not None else (payload_bytes or b"").decode(errors="replace")
    text = text.replace("\0", "")  # between the digits of UTF-16
    cells = cells_of(text)
    if cells is None:
        return re.search(whole_number(complaint_id), text) is not None
    keys = BY_NAME["complaint_id"].keys
    ids = (str(value).strip() for name, value in cells.items() if normalized(name) in keys)
    return any(text.isascii() and text.isdigit() and text.lstrip("0") == str(complaint_id) for text in ids)


def steps(settings: Settings, complaint_id: int, records: Sequence[str]) -> list[Step]:
    """Return the history of a complaint as far as the lake knows it, in chronological order."""
    rows = query(settings, TABLES, STEPS, {"id": complaint_id, "records": list(records)}).rows
    return [Step(step, at, record_id, what) for _, step, at, record_id, what in rows]


def destinations(settings: Settings, records: Sequence[str]) -> dict[str, str]:
    """Return the destination (silver, quarantine or duplicates) of each bronze row that has been refined."""
    return {str(row[0]): str(row[1]) for row in query(settings, TABLES, DESTINATIONS, {"records": list(records)}).rows}


def erasures(settings: Settings, complaint_id: int) -> list[Mapping[str, Any]]:
    """Return a complaint's rows of bronze.erasures; empty in older lakes without the table."""
    if not (table_path(settings, ERASURES) / "_delta_log").is_dir():
        return []
    found = query(settings, TABLES, ERASED, {"id": complaint_id})
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]
