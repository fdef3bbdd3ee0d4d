"""Ways to break one invariant of a lake: each replaces the rows of a table with others."""

# ruff: noqa: S608 - the statements of tests are their own

import json
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.settings import Settings
from lakehouse.sql.pinned import newest_version
from lakehouse.sql.query import _delta_extension, query
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path
from silver import tables as silver
from streaming.tables import TABLES

QUARANTINED = "(SELECT min(record_id) FROM before WHERE source = 'kafka')"
ROW = "record_id LIKE 'verify-input/%'"


def rewrite(settings: Settings, table: Table, select: str) -> None:
    """Replace a table's rows with the result of a SELECT over `before`, in one commit."""
    folder, version = table_path(settings, table), newest_version(settings, table)
    name = f"part-{uuid.uuid4()}.parquet"
    with closing(duckdb.connect()) as connection:
        connection.execute(f"LOAD '{_delta_extension()}'")
        connection.execute("SET TimeZone = 'UTC'")
        scanned = f"delta_scan('{folder}', version = {version})"
        files = connection.execute(f"SELECT DISTINCT filename FROM delta_scan('{folder}', filename = true)").fetchall()
        connection.execute(f"COPY (WITH before AS (FROM {scanned}) {select}) TO '{folder / name}' (FORMAT parquet)")
    now = time.time_ns() // 1_000_000
    common = {"dataChange": True, "partitionValues": {}}
    add = {"path": name, "size": (folder / name).stat().st_size, "modificationTime": now, **common}
    removed = [{"path": Path(file).name, "deletionTimestamp": now, "dataChange": True} for (file,) in files]
    actions = [{"commitInfo": {"timestamp": now, "operation": "WRITE"}}, {"add": add}]
    lines = [json.dumps(action) for action in (*actions, *({"remove": file} for file in removed))]
    (folder / "_delta_log" / f"{(version or 0) + 1:020}.json").write_text("\n".join(lines))


def one(settings: Settings, statement: str) -> str:
    return str(query(settings, TABLES, statement).rows[0][0])


def lose_a_message(settings: Settings) -> None:
    """Delete a message from bronze, and therefore from quarantine as well."""
    gone = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    for table in (silver.QUARANTINE, bronze.COMPLAINTS):
        rewrite(settings, table, f"SELECT * FROM before WHERE record_id <> '{gone}'")


def mistake_another_message_for_it(settings: Settings) -> None:
    """Change timestamps as if the offset belonged to another broker or a deleted topic."""
    rewrite(
        settings,
        bronze.COMPLAINTS,
        'SELECT * REPLACE (CASE WHEN "offset" = 0 THEN kafka_timestamp - INTERVAL 1 HOUR ELSE kafka_timestamp END '
        "AS kafka_timestamp) FROM before",
    )


def land_a_message_twice(settings: Settings) -> None:
    rewrite(settings, bronze.COMPLAINTS, f"FROM before UNION ALL FROM before WHERE record_id = {QUARANTINED}")


def lose_a_row_of_a_file(settings: Settings) -> None:
    rewrite(settings, bronze.FILES, 'SELECT * REPLACE ("rows" + 1 AS "rows") FROM before ORDER BY sha256')


def replay_a_row_twice(settings: Settings) -> None:
    """Add two replays of one quarantined row, each stored in its own place."""
    quarantined = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    ids = ", ".join(f"('{quarantined}@{time}')" for time in (20240301000000000, 20240301000000001))
    position = 'NULL AS topic, NULL AS "partition", NULL AS "offset", NULL AS kafka_timestamp'
    rewrite(
        settings,
        bronze.COMPLAINTS,
        f"FROM before UNION ALL SELECT before.* REPLACE (id AS record_id, 'replay' AS source, {position}, record_id AS "
        f"replay_of) FROM before, (VALUES {ids}) AS v(id) WHERE record_id = '{quarantined}'",
    )
    rewrite(
        settings,
        silver.DUPLICATES,
        "FROM before UNION ALL SELECT b.* REPLACE (id AS record_id) "
        f"FROM (FROM before LIMIT 1) AS b, (VALUES {ids}) AS v(id)",
    )


def record_a_replay_that_was_never_sent(settings: Settings) -> None:
    rewrite(settings, silver.QUARANTINE, "SELECT * REPLACE (now() AS replayed_at) FROM before")


def lose_a_quarantined_row(settings: Settings) -> None:
    rewrite(settings, silver.QUARANTINE, "FROM before ORDER BY record_id LIMIT 1")


def put_a_row_into_two_places(settings: Settings) -> None:
    known = one(settings, f"SELECT min(record_id) FROM silver.complaints WHERE {ROW}")
    rewrite(
        settings,
        silver.DUPLICATES,
        f"FROM before UNION ALL SELECT * REPLACE ('{known}' AS record_id) FROM (FROM before LIMIT 1)",
    )


def restore_an_erased_row(settings: Settings) -> None:
    there = one(settings, f"SELECT min(record_id) FROM silver.quarantine WHERE {ROW}")
    rewrite(
        settings,
        bronze.ERASURES,
        f"SELECT '{there}' AS record_id, 1::BIGINT AS complaint_id, 'quarantine' AS destination, now() AS asked_at, "
        "now() AS erased_at",
    )


def refine_a_duplicate_as_a_new_complaint(settings: Settings) -> None:
    """Move a row from the duplicates to the complaints, with the same complaint id."""
    duplicate = one(settings, f"SELECT min(record_id) FROM silver.duplicates WHERE {ROW}")
    number = one(settings, f"SELECT complaint_id FROM silver.duplicates WHERE record_id = '{duplicate}'")
    rewrite(settings, silver.DUPLICATES, f"FROM before WHERE record_id <> '{duplicate}'")
    rewrite(
        settings,
        silver.COMPLAINTS,
        f"FROM before UNION ALL SELECT * REPLACE ('{duplicate}' AS record_id) FROM before "
        f"WHERE complaint_id = {number}",
    )


def duplicate_the_last_row(table: Table) -> Callable[[Settings], None]:
    doubled = "FROM before UNION ALL FROM (FROM before ORDER BY complaint_id DESC LIMIT 1)"
    return lambda settings: rewrite(settings, table, doubled)


def lose_an_outcome(settings: Settings) -> None:
    rewrite(settings, silver.OUTCOMES, "FROM before ORDER BY complaint_id OFFSET 1")


def decide_twice(settings: Settings) -> None:
    """Duplicate a decision and count it twice, so that the sums match."""
    duplicate_the_last_row(gold.DECISIONS)(settings)
    last = "SELECT * FROM gold.decisions ORDER BY complaint_id DESC LIMIT 1"
    measures = (
        "1 AS complaints, escalate::INT AS escalated, (urgency = 'critical')::INT AS critical, "
        "(urgency = 'high')::INT AS high, (scored_with = 'structure')::INT AS without_text, "
        "probability AS probability_sum"
    )
    keys = {
        gold.BY_MINUTE: "date_trunc('minute', kafka_timestamp) AS minute, product_family, urgency",
        gold.BY_DAY: "date_received, product_family, coalesce(issue, '') AS issue, coalesce(company, '') AS company, "
        "coalesce(state, '') AS state",
    }
    waited = (
        ", epoch_ms(scored_at) - epoch_ms(kafka_timestamp) AS latency_ms_sum, 0 AS latency_ms_max, 0 AS scored_batch"
    )
    scanned = f"delta_scan('{table_path(settings, gold.DECISIONS)}')"
    for table, columns in keys.items():
        added = f"SELECT {columns}, {measures}{waited if table is gold.BY_MINUTE else ''} FROM ({last})"
        rewrite(settings, table, f"FROM before UNION ALL BY NAME {added}".replace("gold.decisions", scanned))


def leave_a_complaint_undecided(settings: Settings) -> None:
    """Turn a duplicate into a separate complaint that is never scored."""
    duplicate = one(settings, f"SELECT min(record_id) FROM silver.duplicates WHERE {ROW}")
    rewrite(settings, silver.DUPLICATES, f"FROM before WHERE record_id <> '{duplicate}'")
    rewrite(
        settings,
        silver.COMPLAINTS,
        f"FROM before UNION ALL SELECT * REPLACE ('{duplicate}' AS record_id, 9000001 AS complaint_id) "
        f"FROM (FROM before LIMIT 1)",
    )


def revise_a_complaint_without_deciding_it_again(settings: Settings) -> None:
    duplicate = one(settings, f"SELECT min(record_id) FROM silver.duplicates WHERE {ROW}")
    third = f"SELECT * REPLACE (3::INTEGER AS version, '{duplicate}' AS record_id) FROM before"
    rewrite(settings, silver.REVISIONS, f"FROM before UNION ALL {third}")


def revise_a_complaint_that_no_row_repeats(settings: Settings) -> None:
    duplicate = one(settings, "SELECT record_id FROM silver.revisions")
    rewrite(settings, silver.DUPLICATES, f"FROM before WHERE record_id <> '{duplicate}'")
    rewrite(settings, silver.QUARANTINE, f"FROM before UNION ALL SELECT * REPLACE ('{duplicate}' AS record_id) "
            "FROM (FROM before LIMIT 1)")  # fmt: skip


def lose_a_deadline(settings: Settings) -> None:
    later = "CASE WHEN version > 1 THEN replaces.due_on + 1 ELSE due_on END AS due_on"
    rewrite(settings, gold.DECISIONS, f"SELECT * REPLACE ({later}) FROM before")


def withdraw_a_complaint_twice(settings: Settings) -> None:
    number = one(settings, "SELECT min(complaint_id) FROM silver.complaints")
    columns = ", ".join(f"NULL AS {name}" for name in silver.WITHDRAWALS.column_names[2:-1])
    event = f"SELECT {number}::BIGINT AS complaint_id, 'withdrawn' AS change, {columns}, now() AS observed_at"
    rewrite(settings, silver.WITHDRAWALS, f"{event} UNION ALL {event}")


def lose_a_sum(table: Table) -> Callable[[Settings], None]:
    return lambda settings: rewrite(settings, table, "FROM before ORDER BY ALL OFFSET 1")


def change_a_sum(settings: Settings) -> None:
    rewrite(settings, gold.BY_DAY, "SELECT * REPLACE (escalated + 1 AS escalated) FROM before")


BREAKS: dict[Callable[[Settings], None], tuple[str, str, int]] = {
    lose_a_message: ("messages", "lost", 1),
    mistake_another_message_for_it: ("messages", "lost", 2),
    land_a_message_twice: ("bronze", "twice", 1),
    lose_a_row_of_a_file: ("files", "lost", 2),
    replay_a_row_twice: ("replays", "twice", 1),
    record_a_replay_that_was_never_sent: ("replays", "noted and never sent", 2),
    lose_a_quarantined_row: ("places", "lost", 1),
    put_a_row_into_two_places: ("places", "in several places", 1),
    restore_an_erased_row: ("places", "erased and there again", 1),
    refine_a_duplicate_as_a_new_complaint: ("complaints", "twice", 1),
    duplicate_the_last_row(silver.NARRATIVES): ("narratives", "twice", 1),
    duplicate_the_last_row(silver.OUTCOMES): ("outcomes", "twice", 1),
    duplicate_the_last_row(silver.OUTCOME_REPORTS): ("reports", "twice", 1),
    lose_an_outcome: ("reports", "not merged", 1),
    decide_twice: ("decisions", "twice", 1),
    leave_a_complaint_undecided: ("gold", "without a decision", 1),
    duplicate_the_last_row(silver.REVISIONS): ("revisions", "twice", 1),
    revise_a_complaint_without_deciding_it_again: ("revisions", "not decided again", 1),
    revise_a_complaint_that_no_row_repeats: ("revisions", "not among the duplicates", 1),
    lose_a_deadline: ("revisions", "due later than before", 1),
    withdraw_a_complaint_twice: ("withdrawals", "twice", 1),
    lose_a_sum(gold.BY_MINUTE): ("minutes", "with other sums", 1),
    lose_a_sum(gold.BY_DAY): ("days", "with other sums", 1),
}
