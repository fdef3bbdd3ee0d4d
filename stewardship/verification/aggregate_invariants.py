"""SQL that compares aggregates with the decisions they sum, on pinned tables (part of `invariants`)."""

from gold.aggregates import KEYS
from gold.tables import BY_DAY, BY_MINUTE
from lakehouse.tables.declaration import Table

# The measures of gold.aggregates in DuckDB's SQL: written independently, because one verifies the other.
_COUNTED = {
    "complaints": "1",
    "escalated": "escalate::INTEGER",
    "critical": "(urgency = 'critical')::INTEGER",
    "high": "(urgency = 'high')::INTEGER",
    "without_text": "(scored_with = 'structure')::INTEGER",
    "probability_sum": "probability",
}
_LATENCY = {"latency_ms_sum": "coalesce(epoch_ms(scored_at) - epoch_ms(kafka_timestamp), 0)"}
_MINUTE = ("date_trunc('minute', coalesce(kafka_timestamp, ingested_at))", "product_family", "urgency", "is_synthetic")
_DAY = (
    *("date_received", "product_family", "coalesce(issue, '')", "coalesce(company, '')", "coalesce(state, '')"),
    "is_synthetic",
)
_NAMES = (
    *("date_received", "product_family", "issue", "company", "state", "probability", "scored_with", "urgency"),
    *("escalate", "kafka_timestamp", "ingested_at", "scored_at", "is_synthetic"),
)
_COLUMNS = ", ".join(_NAMES)
_REPLACED = ", ".join(f"replaces.{name}" for name in _NAMES)
_KEYS = {BY_MINUTE: _MINUTE, BY_DAY: _DAY}
_MEASURES = {BY_MINUTE: _COUNTED | _LATENCY, BY_DAY: _COUNTED}


def aggregate_mismatches(table: Table, under_way: str) -> str:
    """Return SQL for the keys of an aggregate whose sums differ from the decisions: verdict, id, n.

    A decision that replaces another takes that one out of the sums. A sum is right if it lies between the least and the
    most that it can be, with any of the decisions that the summarise query may not have read.
    Decisions it may not have read yet are reported with the verdict `under_way`.
    """
    names, keys, measures = KEYS[table], _KEYS[table], _MEASURES[table]
    expected = ", ".join(
        f"sum({sql} * sign) FILTER (sign > 0 OR NOT is_open) AS most_{name}, "
        f"sum({sql} * sign) FILTER (sign < 0 OR NOT is_open) AS least_{name}"
        for name, sql in measures.items()
    )
    within = " AND ".join(
        f"coalesce({name}, 0) BETWEEN coalesce(least_{name}, 0) - 1e-6 * (1 + coalesce(abs(most_{name}), 0)) "
        f"AND coalesce(most_{name}, 0) + 1e-6 * (1 + coalesce(abs(most_{name}), 0))"
        for name in measures
    )
    return f"""
        WITH decided AS (
            SELECT {_COLUMNS}, 1 AS sign, complaint_id FROM gold.decisions
            UNION ALL
            SELECT {_REPLACED}, -1, complaint_id FROM gold.decisions WHERE replaces IS NOT NULL
        ), counted AS (
            SELECT *, (SELECT all_unsummed FROM asked) OR complaint_id IN (FROM unsummed UNION ALL FROM erasing)
                   AS is_open
            FROM decided
        ), expected AS (
            SELECT {", ".join(f"{sql} AS e_{name}" for name, sql in zip(names, keys, strict=True))},
                   {expected}, count(*) FILTER (is_open) AS opened
            FROM counted GROUP BY {", ".join(str(number + 1) for number in range(len(names)))}
        ), found AS (
            SELECT {", ".join(names)}, {", ".join(f"sum({name}) AS {name}" for name in measures)}
            FROM {table.name} GROUP BY {", ".join(names)}
        ), compared AS (
            SELECT concat_ws(', ', {", ".join(f"coalesce({name}, e_{name})" for name in names)}) AS id,
                   {within} AS is_right, opened
            FROM expected FULL JOIN found ON {" AND ".join(f"e_{name} IS NOT DISTINCT FROM {name}" for name in names)}
        )
        SELECT CASE WHEN is_right THEN '{under_way}' ELSE 'with other sums' END AS verdict, id,
               CASE WHEN is_right THEN opened ELSE 1 END AS n
        FROM compared WHERE NOT is_right OR opened > 0
    """  # noqa: S608
