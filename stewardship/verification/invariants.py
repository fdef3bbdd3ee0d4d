"""Invariants that hold for a lake at any time, as SQL on its pinned tables and copies of its topics.

Each invariant has two queries: the number of things it covers, and its findings (`verdict`, `id`, `n`): n deviations
per id. Findings with a verdict in `APART` are accounted for; all others break the invariant.

Besides the views of the tables, `stewardship.verification.verify` creates these tables:
asked (topic, started, publishing_since, revising_since), reached (partition, end): progress of the queries before
tables were pinned; unrefined (record_id), unmerged, unscored, unrevised and unsummed (complaint_id): rows that a query
may not have read yet; if that may be every row, all_unrefined and so on in asked are true;
on_input and on_predictions: the topics' messages; cut (reach_ms): time before which Kafka may have dropped predictions.
"""

from dataclasses import dataclass

from bronze import tables as bronze
from bronze.land import DIGEST_SHOWN, FROM_FILE
from gold import tables as gold
from gold.aggregates import KEYS
from lakehouse.tables.declaration import Table
from silver import tables as silver
from stewardship.verification.aggregate_invariants import aggregate_mismatches

UNDER_WAY = "under way"
ERASED = "erased"
BEYOND = "beyond retention"
UNPUBLISHED = "in batches of which Kafka has nothing, as `complaints score` leaves them"
APART = (UNDER_WAY, ERASED, BEYOND, UNPUBLISHED)

# The columns that the queries read, by table, in the order in which tables are pinned: downstream tables are pinned
# first, so that the source of each row is in the tables that follow. The erasures come first and are checked again at
# the end, because an erasure must not happen meanwhile.
COLUMNS: dict[Table, tuple[str, ...]] = {
    bronze.ERASURES: ("record_id", "complaint_id", "erased_at"),
    gold.BY_MINUTE: (*KEYS[gold.BY_MINUTE], *(measure.name for measure in gold.MEASURES), "latency_ms_sum"),
    gold.BY_DAY: (*KEYS[gold.BY_DAY], *(measure.name for measure in gold.MEASURES)),
    gold.DECISIONS: (
        *("complaint_id", "record_id", "date_received", "product_family", "issue", "company", "state", "probability"),
        *("scored_with", "urgency", "escalate", "kafka_timestamp", "ingested_at", "scored_at", "is_synthetic"),
        *("due_on", "version", "replaces"),
    ),
    silver.COMPLAINTS: ("complaint_id", "record_id"),
    silver.REVISIONS: ("record_id", "complaint_id", "version"),
    silver.NARRATIVES: ("complaint_id",),
    silver.OUTCOMES: ("complaint_id",),
    silver.OUTCOME_REPORTS: ("record_id", "complaint_id"),
    silver.WITHDRAWALS: ("complaint_id", "change", "observed_at"),
    silver.QUARANTINE: ("record_id", "replayed_at"),
    silver.DUPLICATES: ("record_id",),
    bronze.FILES: ("sha256", "rows", "unchanged"),
    bronze.COMPLAINTS: ("record_id", "source", "topic", "partition", "offset", "kafka_timestamp", "replay_of"),
}

# Records, complaints and messages that are not exactly once where they should be, found in one pass for several
# invariants. The grouped columns are small (numbers, digests), because there is one row per row of the lake.
PREPARED = (
    """
    CREATE TABLE odd_records AS
    SELECT record_id, sum(b) AS bronze, sum(p) AS places, sum(e) AS erased, sum(u) AS erasing
    FROM (
        SELECT record_id, 1 AS b, 0 AS p, 0 AS e, 0 AS u FROM bronze.complaints
        UNION ALL SELECT record_id, 0, 1, 0, 0 FROM silver.complaints
        UNION ALL SELECT record_id, 0, 1, 0, 0 FROM silver.quarantine
        UNION ALL SELECT record_id, 0, 1, 0, 0 FROM silver.duplicates
        UNION ALL SELECT record_id, 0, 0, 1, (erased_at IS NULL)::INTEGER FROM bronze.erasures
    )
    GROUP BY record_id
    HAVING NOT (sum(b) = 1 AND sum(p) = 1 AND sum(e) = 0) AND NOT (sum(b) = 0 AND sum(p) = 0 AND sum(u) = 0)
    """,
    """
    CREATE TABLE odd_complaints AS
    SELECT complaint_id, sum(s) AS silver, sum(g) AS gold
    FROM (
        SELECT complaint_id, hash(record_id) AS record, 1 AS s, 0 AS g FROM silver.complaints
        UNION ALL SELECT complaint_id, hash(record_id), 0, 1 FROM gold.decisions WHERE coalesce(version, 1) = 1
    )
    GROUP BY complaint_id HAVING NOT (sum(s) = 1 AND sum(g) = 1 AND min(record) = max(record))
    """,
    """
    CREATE TABLE odd_messages AS
    SELECT hash(topic, "partition", "offset", kafka_timestamp) AS message FROM bronze.complaints
    WHERE source = 'kafka' GROUP BY message HAVING min(hash(record_id)) <> max(hash(record_id))
    """,
    "CREATE TABLE replaced AS SELECT replaces.record_id AS record_id FROM gold.decisions WHERE replaces IS NOT NULL",
    "CREATE TABLE erasing AS SELECT complaint_id FROM bronze.erasures WHERE erased_at IS NULL",
)

# If bronze has none of a partition's messages, the checkpoint's offset is from another broker or topic.
_MESSAGES = f"""
    WITH mine AS (
        SELECT "partition", "offset", epoch_ms(kafka_timestamp) AS sent_ms
        FROM bronze.complaints WHERE source = 'kafka' AND topic = (SELECT topic FROM asked)
    ), erased AS (  -- an id may have one more part
        SELECT array_to_string(string_split(record_id, '/')[:3], '/') FROM bronze.erasures
    ), matched AS (
        SELECT "partition", max("offset") + 1 AS "end"
        FROM on_input SEMI JOIN mine USING ("partition", "offset", sent_ms) GROUP BY "partition"
    ), missing AS (
        SELECT "partition", "offset", concat_ws('/', (SELECT topic FROM asked), "partition", "offset") AS record_id
        FROM on_input ANTI JOIN mine USING ("partition", "offset", sent_ms)
    )
    SELECT CASE WHEN record_id IN (FROM erased) THEN '{ERASED}'
                WHEN "offset" < greatest(matched."end", reached."end") AND matched."end" IS NOT NULL THEN 'lost'
                ELSE '{UNDER_WAY}' END AS verdict, record_id AS id, 1 AS n
    FROM missing LEFT JOIN reached USING ("partition") LEFT JOIN matched USING ("partition")
"""  # noqa: S608 - only our own names, here and below

_ONCE = """
    SELECT 'twice' AS verdict, record_id AS id, bronze - 1 AS n FROM odd_records WHERE bronze > 1
    UNION ALL
    SELECT 'twice under other ids', min(record_id), count(DISTINCT record_id) - 1
    FROM bronze.complaints
    WHERE source = 'kafka' AND hash(topic, "partition", "offset", kafka_timestamp) IN (FROM odd_messages)
    GROUP BY topic, "partition", "offset", kafka_timestamp HAVING count(DISTINCT record_id) > 1
"""

_FILES = f"""
    WITH noted AS (
        SELECT left(sha256, {DIGEST_SHOWN}) AS digest, max("rows" - coalesce(unchanged, 0)) AS "rows"
        FROM bronze.files GROUP BY digest
    ), there AS (
        SELECT digest, count(*) AS "rows"
        FROM (SELECT regexp_extract(record_id, '{FROM_FILE}', 1) AS digest FROM bronze.complaints
              WHERE source IN ('csv', 'json')
              UNION ALL SELECT regexp_extract(record_id, '{FROM_FILE}', 1)
              FROM bronze.erasures ANTI JOIN bronze.complaints USING (record_id))
        WHERE digest <> '' GROUP BY digest
    )
    SELECT CASE WHEN noted.digest IS NULL THEN '{UNDER_WAY}'
                WHEN coalesce(there."rows", 0) < noted."rows" THEN 'lost' ELSE 'too many' END AS verdict,
           digest AS id, abs(coalesce(noted."rows", 0) - coalesce(there."rows", 0)) AS n
    FROM noted FULL JOIN there USING (digest) WHERE noted."rows" IS DISTINCT FROM there."rows"
"""  # noqa: S608

_REPLAYS = """
    SELECT 'twice' AS verdict, replay_of AS id, count(*) - 1 AS n
    FROM bronze.complaints WHERE replay_of IS NOT NULL GROUP BY replay_of HAVING count(*) > 1
    UNION ALL
    SELECT 'noted and never sent', record_id, 1
    FROM (SELECT record_id FROM silver.quarantine WHERE replayed_at IS NOT NULL) AS gone
    ANTI JOIN bronze.complaints ON replay_of = gone.record_id
"""

_PLACES = f"""
    SELECT CASE WHEN erasing > 0 THEN '{UNDER_WAY}'
                WHEN erased > 0 THEN 'erased and there again'
                WHEN bronze = 0 THEN 'not in bronze'
                WHEN places > 1 THEN 'in several places'
                WHEN (SELECT all_unrefined FROM asked) OR record_id IN (FROM unrefined) THEN '{UNDER_WAY}'
                ELSE 'lost' END AS verdict, record_id AS id, 1 AS n
    FROM odd_records WHERE NOT (bronze > 0 AND places = 1 AND erased = 0)
"""  # noqa: S608

_UNIQUE = """
    SELECT 'twice' AS verdict, complaint_id::VARCHAR AS id, count(*) - 1 AS n
    FROM {table} GROUP BY complaint_id HAVING count(*) > 1
"""

_REPORTS = f"""
    SELECT 'twice' AS verdict, record_id AS id, count(*) - 1 AS n
    FROM silver.outcome_reports GROUP BY record_id HAVING count(*) > 1
    UNION ALL
    SELECT CASE WHEN (SELECT all_unmerged FROM asked) OR complaint_id IN (FROM unmerged UNION ALL FROM erasing)
                THEN '{UNDER_WAY}' ELSE 'not merged' END, complaint_id::VARCHAR, 1
    FROM silver.outcome_reports ANTI JOIN silver.outcomes USING (complaint_id)
"""  # noqa: S608

_TWICE = """
    SELECT 'twice' AS verdict, complaint_id::VARCHAR AS id, {layer} - 1 AS n FROM odd_complaints WHERE {layer} > 1
"""

_DECISIONS = f"""
    SELECT CASE WHEN (SELECT all_unscored FROM asked) OR complaint_id IN (FROM unscored UNION ALL FROM erasing)
                THEN '{UNDER_WAY}' ELSE 'without a decision' END AS verdict, complaint_id::VARCHAR AS id, 1 AS n
    FROM odd_complaints WHERE silver > 0 AND gold = 0
    UNION ALL
    SELECT CASE WHEN complaint_id IN (FROM erasing) THEN '{UNDER_WAY}' ELSE 'of no complaint in silver' END,
           complaint_id::VARCHAR, 1
    FROM (SELECT complaint_id, record_id FROM gold.decisions SEMI JOIN odd_complaints USING (complaint_id)
          WHERE coalesce(version, 1) = 1) AS decided
    ANTI JOIN (SELECT complaint_id, record_id FROM silver.complaints SEMI JOIN odd_complaints USING (complaint_id))
    USING (complaint_id, record_id)
"""  # noqa: S608

_REVISIONS = f"""
    WITH again AS (
        SELECT complaint_id, record_id, version, due_on, replaces FROM gold.decisions WHERE version > 1
    ), newest AS (
        SELECT complaint_id, max(version) AS version FROM silver.revisions GROUP BY complaint_id
    ), found AS (
        SELECT 'twice' AS verdict, complaint_id, count(*) - 1 AS n
        FROM silver.revisions GROUP BY complaint_id, version HAVING count(*) > 1
        UNION ALL
        SELECT 'not among the duplicates', complaint_id, 1
        FROM silver.revisions ANTI JOIN silver.duplicates USING (record_id)
        WHERE NOT (SELECT all_unrefined FROM asked) AND record_id NOT IN (FROM unrefined)
        UNION ALL
        SELECT 'decided twice', any_value(complaint_id), count(*) - 1
        FROM again GROUP BY record_id HAVING count(*) > 1
        UNION ALL
        SELECT 'decided without a revision', complaint_id, 1
        FROM again ANTI JOIN silver.revisions USING (complaint_id, record_id, version)
        UNION ALL
        SELECT 'replaces no decision', complaint_id, 1
        FROM again ANTI JOIN gold.decisions ON again.replaces.record_id = gold.decisions.record_id
        UNION ALL
        SELECT 'due later than before', complaint_id, 1 FROM again WHERE due_on > replaces.due_on
        UNION ALL
        SELECT CASE WHEN (SELECT all_unrevised FROM asked) OR complaint_id IN (FROM unrevised) THEN '{UNDER_WAY}'
                    ELSE 'not decided again' END, complaint_id, 1
        FROM newest ANTI JOIN again USING (complaint_id, version)
    )
    SELECT CASE WHEN complaint_id IN (FROM erasing) THEN '{UNDER_WAY}' ELSE verdict END AS verdict,
           complaint_id::VARCHAR AS id, n
    FROM found
"""  # noqa: S608

_WITHDRAWALS = f"""
    WITH events AS (
        SELECT complaint_id, change, lag(change, 1, 'returned') OVER (PARTITION BY complaint_id ORDER BY observed_at)
               AS before
        FROM silver.withdrawals
    )
    SELECT 'twice' AS verdict, complaint_id::VARCHAR AS id, 1 AS n FROM events WHERE change = before
    UNION ALL
    SELECT CASE WHEN complaint_id IN (FROM erasing) THEN '{UNDER_WAY}' ELSE 'of no complaint in silver' END,
           complaint_id::VARCHAR, 1
    FROM silver.withdrawals ANTI JOIN silver.complaints USING (complaint_id)
"""  # noqa: S608

_PUBLISHED = f"""
    WITH buried AS (
        SELECT complaint_id, max(row(sent_ms, "offset")) AS at
        FROM on_predictions WHERE content IS NULL GROUP BY complaint_id
    ), live AS (
        SELECT m.complaint_id, m.record, min(content) <> max(content) AS differ, min(sent_ms) AS sent_ms
        FROM on_predictions AS m LEFT JOIN buried USING (complaint_id)
        WHERE content IS NOT NULL AND complaint_id IS NOT NULL
              AND (buried.at IS NULL OR row(sent_ms, "offset") > buried.at)
        GROUP BY m.complaint_id, m.record
    ), decided AS (
        SELECT complaint_id, record_id, hash(record_id) AS record, scored_at, coalesce(version, 1) > 1 AS is_again
        FROM gold.decisions
    ), strange AS (
        SELECT complaint_id, differ, sent_ms FROM live ANTI JOIN decided USING (complaint_id, record)
    ), absent AS (  -- compaction removes the messages of decisions that were replaced
        SELECT complaint_id, scored_at, is_again FROM decided ANTI JOIN live USING (complaint_id, record)
        WHERE record_id NOT IN (FROM replaced) AND complaint_id NOT IN (SELECT complaint_id FROM strange)
    ), seen AS (
        SELECT DISTINCT scored_at FROM decided SEMI JOIN live USING (complaint_id, record)
    )
    SELECT 'with several contents' AS verdict, complaint_id::VARCHAR AS id, 1 AS n FROM live WHERE differ
    UNION ALL
    SELECT CASE WHEN complaint_id IN (FROM erasing) THEN '{UNDER_WAY}' ELSE 'not as in gold' END,
           complaint_id::VARCHAR, 1
    FROM strange WHERE NOT differ AND sent_ms < (SELECT epoch_ms(started) FROM asked)
    UNION ALL
    SELECT CASE WHEN complaint_id IN (FROM erasing)
                     OR scored_at >= CASE WHEN is_again THEN revising_since ELSE publishing_since END THEN '{UNDER_WAY}'
                WHEN epoch_ms(scored_at) < (SELECT max(reach_ms) FROM cut) THEN '{BEYOND}'
                WHEN scored_at IN (FROM seen) THEN 'not published'
                ELSE '{UNPUBLISHED}' END, complaint_id::VARCHAR, 1
    FROM absent, asked
"""  # noqa: S608


@dataclass(frozen=True)
class Invariant:
    """A condition that must hold.

    Attributes:
        name: its key in JSON.
        says: the condition in words.
        counted: SQL for the number of things it covers.
        findings: SQL for the deviations: verdict, id, n.
        topic: the topic it needs, input or predictions; None if it needs none.
    """

    name: str
    says: str
    counted: str
    findings: str
    topic: str | None = None


def _rows(table: Table, where: str = "true") -> str:
    return f"SELECT count(*) FROM {table.name} WHERE {where}"  # noqa: S608


def _unique(name: str, table: Table, findings: str = _UNIQUE) -> Invariant:
    says = f"each complaint is in {table.name} once"
    return Invariant(name, says, _rows(table), findings.format(table=table.name))


INVARIANTS = (
    Invariant(
        "messages", "each message that Kafka has is in bronze", "SELECT count(*) FROM on_input", _MESSAGES, "input"
    ),
    Invariant("bronze", "each row of bronze is there once", _rows(bronze.COMPLAINTS), _ONCE),
    Invariant(
        "files",
        "each loaded file's rows are in bronze",
        'SELECT coalesce(sum("rows" - coalesce(unchanged, 0)), 0) FROM bronze.files',
        _FILES,
    ),
    Invariant("replays", "each replayed row went once", _rows(bronze.COMPLAINTS, "replay_of IS NOT NULL"), _REPLAYS),
    Invariant("places", "each row of bronze is in one place of silver", _rows(bronze.COMPLAINTS), _PLACES),
    _unique("complaints", silver.COMPLAINTS, _TWICE.format(layer="silver")),
    _unique("narratives", silver.NARRATIVES),
    _unique("outcomes", silver.OUTCOMES),
    Invariant(
        "reports",
        "each reported outcome is in silver.outcomes",
        _rows(silver.OUTCOME_REPORTS),
        _REPORTS,
    ),
    _unique("decisions", gold.DECISIONS, _TWICE.format(layer="gold")),
    Invariant("gold", "each complaint in silver is decided in gold", _rows(silver.COMPLAINTS), _DECISIONS),
    Invariant("revisions", "each revised complaint is decided again, once", _rows(silver.REVISIONS), _REVISIONS),
    Invariant(
        "withdrawals",
        "a complaint is withdrawn, and returns, in turn",
        _rows(silver.WITHDRAWALS),
        _WITHDRAWALS,
    ),
    Invariant(
        "minutes",
        "the minutes add up to the decisions",
        _rows(gold.DECISIONS),
        aggregate_mismatches(gold.BY_MINUTE, UNDER_WAY),
    ),
    Invariant(
        "days", "the days add up to the decisions", _rows(gold.DECISIONS), aggregate_mismatches(gold.BY_DAY, UNDER_WAY)
    ),
    Invariant(
        "published", "each decision is published, all copies alike", _rows(gold.DECISIONS), _PUBLISHED, "predictions"
    ),
)
