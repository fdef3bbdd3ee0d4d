"""A statement reads the served tables and its own WITH clauses, and nothing else."""

import duckdb
import pytest

from lakehouse.guard.sql_guard import Guard, RefusedError, declared_functions


@pytest.mark.parametrize(
    "source",
    [
        "silver.quarantine",
        "SILVER.Quarantine",
        '"silver"."quarantine"',
        "memory.silver.quarantine",
        "memory.gold.decisions",
        "quarantine",
        "decisions",
        "minutes",
        "'{secret}'",
        '"{secret}"',
        '"{folder}/*".csv',
        'gold."{secret}"',
        '"{folder}"."secret.csv"',
        "secret",
        "connection",
        "information_schema.tables",
        "information_schema.columns",
        "pg_catalog.pg_tables",
        "pg_tables",
        "duckdb_tables",
        "sqlite_master",
        "main.sqlite_master",
        "system.main.duckdb_settings",
        "pragma_database_list",
        "duckdb_settings()",
        "duckdb_views()",
        "duckdb_columns()",
        "duckdb_secrets()",
        "pragma_table_info('silver.quarantine')",
        "pragma_show('silver.quarantine')",
        "pragma_storage_info('silver.quarantine')",
        "query('SELECT * FROM silver.quarantine')",
        "query('SELECT * FROM ' || 'silver.quarantine')",
        "query_table('silver.quarantine')",
        "query_table(['silver.quarantine', 'gold.decisions'])",
        "query_table('silver' || '.quarantine')",
        "json_execute_serialized_sql('{{}}')",
        "seq_scan('quarantine')",
        "histogram(silver.quarantine, payload)",
        "histogram_values(silver.quarantine, payload)",
        "summary((SELECT 1))",
        "repeat('a', 10)",
        "read_text('{secret}')",
        "read_blob('{secret}')",
        "read_csv('{secret}')",
        "read_csv_auto('{secret}')",
        "read_json('{secret}')",
        "read_parquet('{secret}')",
        "parquet_scan('{secret}')",
        "parquet_metadata('{secret}')",
        "delta_scan('{folder}')",
        "sniff_csv('{secret}')",
        "glob('{folder}/*')",
        "read_duckdb('{secret}')",
        "system.main.read_text('{secret}')",
        "main.read_text('{secret}')",
        "(SHOW TABLES)",
        "(SHOW ALL TABLES)",
        "(DESCRIBE silver.quarantine)",
        "(SUMMARIZE silver.quarantine)",
        "(DESCRIBE '{secret}')",
        "(SUMMARIZE FROM read_text('{secret}'))",
        "gold.decisions AT (VERSION => 1)",
        "gold.decisions AT (TIMESTAMP => now())",
        "gold.decisions PIVOT (max(n) FOR s IN (SELECT payload FROM silver.quarantine))",
        "silver.quarantine PIVOT (max(payload) FOR payload IN ('a'))",
        "gold.decisions POSITIONAL JOIN silver.quarantine",
        "recurring.decisions",
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        "SELECT * FROM {x}",
        "FROM {x}",
        "SELECT (SELECT count(*) FROM {x})",
        "WITH a AS (SELECT * FROM {x}) SELECT * FROM a",
        # A WITH that is called like what it reads, or defined elsewhere, opens nothing.
        "WITH quarantine AS (SELECT 1), secret AS (SELECT 1), minutes AS (SELECT * FROM {x}) SELECT 1 FROM minutes",
    ],
)
def test_nothing_but_what_is_served_is_read(
    connection: duckdb.DuckDBPyConnection, guard: Guard, words: dict[str, str], place: str, source: str
) -> None:
    if place.startswith("WITH quarantine") and source in {"quarantine", "secret"}:
        pytest.skip("this is the WITH")
    with pytest.raises(RefusedError):
        guard.checked(connection, place.format(x=source.format(**words)))


@pytest.mark.parametrize(
    "statement",
    [
        "WITH q AS (SELECT * FROM q) SELECT * FROM q",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT * FROM a) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT * FROM a UNION ALL SELECT 1) SELECT * FROM a",
        "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) JOIN a ON true",
        "(WITH a AS (SELECT 1) SELECT * FROM a) UNION ALL SELECT * FROM a",
        'WITH "{secret}" AS (SELECT 1) SELECT 1',
        'WITH "secret.csv" AS (SELECT 1) SELECT * FROM "secret.csv"',
        'WITH parquet AS (SELECT 1) SELECT * FROM "{folder}/*".parquet',
        'WITH parquet AS (FROM "{folder}/*".parquet) SELECT * FROM parquet',
        "WITH quarantine AS (SELECT 1) SELECT * FROM silver.quarantine",
    ],
)
def test_a_with_is_seen_only_where_duckdb_sees_it(
    connection: duckdb.DuckDBPyConnection, guard: Guard, words: dict[str, str], statement: str
) -> None:
    with pytest.raises(RefusedError):
        guard.checked(connection, statement.format(**words))


def test_only_functions_that_read_nothing_stand_in_from() -> None:
    assert declared_functions().in_from == {"generate_series", "range", "unnest"}
