"""The guard allows a SELECT over the allowed tables and refuses anything else, anywhere in a statement."""

from fnmatch import fnmatchcase
from pathlib import Path

import duckdb
import pytest

from lakehouse.guard.sql_guard import Guard, RefusedError, declared_functions, declared_nodes

# Positions of an expression. Each statement runs with a harmless call in place of {x}.
PLACES = [
    "SELECT {x}",
    "SELECT DISTINCT {x}",
    "SELECT DISTINCT ON ({x}) n FROM gold.decisions",
    "FROM gold.decisions SELECT {x}",
    "VALUES ({x})",
    "FROM (VALUES ({x})) AS v",
    "SELECT n FROM gold.decisions WHERE {x} IS NOT NULL",
    "SELECT count(*) FROM gold.decisions GROUP BY {x}",
    "SELECT count(*) FROM gold.decisions GROUP BY ROLLUP ({x})",
    "SELECT count(*) FROM gold.decisions GROUP BY GROUPING SETS (({x}), ())",
    "SELECT count(*) FROM gold.decisions HAVING {x} IS NOT NULL",
    "SELECT n FROM gold.decisions QUALIFY count(*) OVER () > 0 AND {x} IS NOT NULL",
    "SELECT n FROM gold.decisions ORDER BY {x}",
    "SELECT n FROM gold.decisions ORDER BY 1, {x} DESC NULLS LAST",
    "SELECT n FROM gold.decisions LIMIT CASE WHEN {x} IS NULL THEN 1 ELSE 2 END",
    "SELECT n FROM gold.decisions LIMIT 1 OFFSET CASE WHEN {x} IS NULL THEN 1 ELSE 0 END",
    "SELECT n FROM gold.decisions LIMIT (CASE WHEN {x} IS NULL THEN 10 ELSE 20 END) %",
    "SELECT a.n FROM gold.decisions a JOIN serving.minutes b ON a.n = b.n AND {x} IS NOT NULL",
    "SELECT a.n FROM gold.decisions a, LATERAL (SELECT {x}) b",
    "SELECT n FROM gold.decisions UNION ALL SELECT 1 WHERE {x} IS NOT NULL",
    "(SELECT 1) ORDER BY {x}",
    "WITH w AS (SELECT {x} AS y) SELECT y FROM w",
    "WITH w AS MATERIALIZED (SELECT {x} AS y) SELECT 1",
    "WITH a AS (WITH b AS (SELECT {x} AS y) SELECT * FROM b) SELECT * FROM a",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2 AND {x} IS NULL) SELECT n FROM r",
    "WITH RECURSIVE r(n, m) USING KEY (n) AS (SELECT 1, 1 UNION SELECT n, m FROM r WHERE {x} IS NULL) SELECT n FROM r",
    "SELECT (SELECT {x})",
    "SELECT 1 IN (SELECT length({x}::VARCHAR))",
    "SELECT EXISTS (SELECT {x})",
    "SELECT 'a' = ANY (SELECT {x}::VARCHAR)",
    "SELECT ARRAY(SELECT {x})",
    "SELECT CASE {x} WHEN 'a' THEN 1 END",
    "SELECT CASE WHEN {x} IS NULL THEN 1 ELSE 2 END",
    "SELECT CASE WHEN n = 1 THEN {x} END FROM gold.decisions",
    "SELECT CAST({x} AS VARCHAR)",
    "SELECT TRY_CAST({x} AS VARCHAR)",
    "SELECT TRY({x})",
    "SELECT {x}::VARCHAR COLLATE nocase",
    "SELECT 'b' BETWEEN 'a' AND {x}::VARCHAR",
    "SELECT coalesce(NULL, {x})",
    "SELECT NOT ({x} IS NULL)",
    "SELECT ({x}::VARCHAR) LIKE 'a'",
    "SELECT 'x' || {x}::VARCHAR",
    "SELECT -length({x}::VARCHAR)",
    "SELECT [{x}]",
    "SELECT {{'a': {x}}}",
    "SELECT MAP {{'a': {x}}}",
    "SELECT row({x}, 1)",
    "SELECT struct_pack(a := {x})",
    "SELECT ([{x}])[1]",
    "SELECT l[length({x}::VARCHAR)] FROM gold.decisions",
    "SELECT l[1:length({x}::VARCHAR)] FROM gold.decisions",
    "SELECT ({{'a': {x}}}).a",
    "SELECT upper({x}::VARCHAR)",
    "SELECT main.upper({x}::VARCHAR)",
    "SELECT s.replace('a', {x}::VARCHAR) FROM gold.decisions",
    "SELECT list_transform(l, lambda e: {x}) FROM gold.decisions",
    "SELECT list_transform(l, e -> {x}) FROM gold.decisions",
    "SELECT list_filter(l, lambda e: {x} IS NOT NULL) FROM gold.decisions",
    "SELECT list_reduce(['a', 'b'], lambda a, b: a || {x}::VARCHAR)",
    "SELECT [{x} FOR e IN l IF e > 0] FROM gold.decisions",
    "SELECT [e FOR e IN l IF {x} IS NOT NULL] FROM gold.decisions",
    "SELECT count({x}) FROM gold.decisions",
    "SELECT count(DISTINCT {x}) FROM gold.decisions",
    "SELECT count(*) FILTER (WHERE {x} IS NOT NULL) FROM gold.decisions",
    "SELECT string_agg(s, ',' ORDER BY {x}) FROM gold.decisions",
    "SELECT max({x}) OVER () FROM gold.decisions",
    "SELECT count(*) OVER (PARTITION BY {x}) FROM gold.decisions",
    "SELECT count(*) OVER (ORDER BY {x}) FROM gold.decisions",
    "SELECT count(*) OVER w FROM gold.decisions WINDOW w AS (PARTITION BY {x})",
    "SELECT count(*) FILTER (WHERE {x} IS NOT NULL) OVER () FROM gold.decisions",
    "SELECT first_value(n ORDER BY {x}) OVER () FROM gold.decisions",
    "SELECT lag(s, 1, {x}::VARCHAR) OVER () FROM gold.decisions",
    "SELECT sum(n) OVER (ORDER BY n ROWS length({x}::VARCHAR) PRECEDING) FROM gold.decisions",
    "SELECT sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND length({x}::VARCHAR) FOLLOWING) FROM gold.decisions",
    "SELECT * REPLACE ({x} AS n) FROM gold.decisions",
    "SELECT COLUMNS(c -> c = 'n' OR ({x}) IS NULL) FROM gold.decisions",
    "SELECT * FROM range(length({x}::VARCHAR))",
    "SELECT * FROM generate_series(1, length({x}::VARCHAR))",
    "SELECT * FROM unnest([{x}])",
    "SELECT unnest([{x}])",
    "SELECT * FROM gold.decisions PIVOT (max({x}) FOR s IN ('a', 'b'))",
    "SELECT * FROM (SELECT n, {x} AS y FROM gold.decisions) PIVOT (max(n) FOR y IN ('a'))",
    "SELECT * FROM (SELECT {x}::VARCHAR AS a, 'b' AS b) UNPIVOT (v FOR k IN (a, b))",
    "SELECT * FROM gold.decisions TABLESAMPLE 10% WHERE {x} IS NULL",
    "DESCRIBE SELECT {x}",
    "SUMMARIZE SELECT {x}",
    "SELECT * FROM (DESCRIBE SELECT {x})",
    "SELECT 1 /* {x} */, {x} -- {x}",
    "SELECT 1; -- {x}\n",
]
# What must not run in any position.
CALLS = [
    "write_blob('{file}', 'x'::BLOB)",
    "WRITE_BLOB('{file}', 'x'::BLOB)",
    "\"write_blob\"('{file}', 'x'::BLOB)",
    "main.write_blob('{file}', 'x'::BLOB)",
    "('{file}').write_blob('x'::BLOB)",
    "write_log('x')",
    "(SELECT max(payload) FROM silver.quarantine)",
    "(SELECT max(content) FROM read_text('{secret}'))",
]


@pytest.mark.parametrize("place", PLACES)
def test_disallowed_calls_are_refused_in_any_position(
    connection: duckdb.DuckDBPyConnection, guard: Guard, words: dict[str, str], place: str
) -> None:
    connection.execute(guard.checked(connection, place.format(x="lower('A')")), []).fetchall()
    in_comments = place.count("{x}") == 1 and "-- {x}" in place
    for call in CALLS:
        if not in_comments:
            with pytest.raises(RefusedError, match=r"can't be (used|read) here"):
                guard.checked(connection, place.format(x=call.format(**words)))
    assert not Path(words["file"]).exists()


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("WITH a AS (SELECT 1 AS n), b AS (SELECT n + 1 AS n FROM A) SELECT a.n, b.n FROM a, b", [(1, 2)]),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT sum(n) FROM r", [(6,)]),
        ("WITH decisions AS (SELECT 7 AS n) SELECT (SELECT n FROM decisions), n FROM gold.decisions", [(7, 1)]),
        ("SELECT n FROM serving.minutes ORDER BY n LIMIT 10", [(1,)]),
        ('SELECT "n" FROM "GOLD"."Decisions"', [(1,)]),
        ("SELECT CAST(n AS STRING), s::TEXT, n::DECIMAL(10, 2)::DOUBLE, l::INT[] FROM gold.decisions", None),
        ("SELECT current_date, current_timestamp, now(), d - INTERVAL 5 MINUTES FROM gold.decisions", None),
        ("SELECT date_trunc('month', d), extract(year FROM d), strftime(d, '%Y') FROM gold.decisions", None),
        ("SELECT quantile_cont(n, 0.5), percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM gold.decisions", None),
        ("SELECT l[1], list_sum(l), len(l), l.list_max() FROM gold.decisions", [(1, 3, 2, 2)]),
        ("SELECT ?::INT + ?::INT", None),
        ("SELECT $name", None),
    ],
)
def test_queries_of_an_analyst_run(
    connection: duckdb.DuckDBPyConnection, guard: Guard, statement: str, rows: list[object] | None
) -> None:
    checked = guard.checked(connection, statement)
    given = {"name": "x"} if "$name" in statement else [1, 2] if "?" in statement else []
    found = connection.execute(checked, given).fetchall()
    assert rows is None or found == rows


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO gold.decisions (n) VALUES (1)",
        "UPDATE gold.decisions SET n = 0",
        "DELETE FROM gold.decisions",
        "MERGE INTO gold.decisions USING gold.decisions ON false WHEN MATCHED THEN DELETE",
        "TRUNCATE gold.decisions",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TEMP MACRO f() AS TABLE SELECT * FROM silver.quarantine",
        "CREATE TYPE t AS ENUM (SELECT payload FROM silver.quarantine)",
        "DROP TABLE gold.decisions",
        "ALTER TABLE gold.decisions ADD COLUMN x INT",
        "COPY (SELECT 1) TO '{file}'",
        "COPY gold.decisions FROM '{secret}'",
        "COPY FROM DATABASE memory TO memory",
        "EXPORT DATABASE '{file}'",
        "IMPORT DATABASE '{folder}'",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS x",
        "ATTACH ':memory:' AS x",
        "DETACH memory",
        "USE gold",
        "SET threads = 64",
        "SET VARIABLE x = 1",
        "RESET threads",
        "INSTALL httpfs",
        "LOAD '{file}'",
        "CALL pragma_version()",
        "CALL write_blob('{file}', 'x'::BLOB)",
        "PRAGMA database_list",
        "PRAGMA json_execute_serialized_sql('')",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
        "CHECKPOINT",
        "VACUUM",
        "PIVOT gold.decisions ON s USING max(n)",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE gold.decisions",
        "SELECT 1;; SELECT 2",
        "/* SELECT 1 */ DROP TABLE gold.decisions",
        "SELECT 1 -- \n; DROP TABLE gold.decisions",
        "register",
        "register(?, ?)",
        "",
        ";",
        "-- nothing",
    ],
)
def test_anything_but_one_select_is_refused(
    connection: duckdb.DuckDBPyConnection, guard: Guard, words: dict[str, str], statement: str
) -> None:
    with pytest.raises(RefusedError):
        guard.checked(connection, statement.format(**words))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT " + "+".join(["1"] * 5_000), "nested too deeply|Parser Error"),
        ("SELECT " + "[" * 900 + "1" + "]" * 900, "nested too deeply|Parser Error|run here"),
        ("SELECT '" + "x" * 100_000 + "'", "longer than 100,000 characters"),
        ("SELECT 1 \0; DROP TABLE gold.decisions", "Only one SELECT"),
    ],
)
def test_statements_that_exhaust_the_parser_are_refused(
    connection: duckdb.DuckDBPyConnection, guard: Guard, statement: str, said: str
) -> None:
    with pytest.raises(RefusedError, match=said):
        guard.checked(connection, statement)


@pytest.mark.parametrize(
    "value",
    [
        "json_structure(repeat('[', 200000))",
        "from_json('{}', repeat('[', 200000))",
        "json_merge_patch('{}', '{}')",
        "reservoir_quantile(1, 0.5, 2000000000)",
        "'{}'::JSON::VARIANT",
        "'POINT (1 1)'::GEOMETRY",
        "TRY_CAST('a' AS silver.quarantine)",
        "'a'::ENUM('a')",
        "NULL::STRUCT(a VARIANT)",
        "NULL::UNION(a INT)",
        "NULL::DECIMAL(3, 1)[]::VARIANT[]",
        "lag(1, -9223372036854775808) OVER ()",
        "lead(1, length('a')) OVER ()",
    ],
)
def test_calls_that_crash_duckdb_are_refused(connection: duckdb.DuckDBPyConnection, guard: Guard, value: str) -> None:
    with pytest.raises(RefusedError, match=r"can't be used here|not known to be safe"):
        guard.checked(connection, f"SELECT {value}")


def test_a_node_with_an_unknown_field_is_refused() -> None:
    node = {"class": "LAMBDA", "type": "LAMBDA", "alias": "", "query_location": 1, "lhs": None, "expr": None}
    assert declared_nodes().know(node)
    assert not declared_nodes().know({**node, "runs": "x"})
    assert not declared_nodes().know({**node, "class": "LAMBDA_REF"})
    assert not declared_nodes().know({"type": "DELIM_GET"})
    assert not declared_nodes().know({"anything": 1})


def test_every_function_of_this_duckdb_was_reviewed(connection: duckdb.DuckDBPyConnection) -> None:
    """A function on neither list is new: allow it in sql_functions.yaml, or refuse it with a reason."""
    found = connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    known = declared_functions()
    there = {name for (name,) in found if not name.startswith("__internal")}
    refused = {name for name in there if any(fnmatchcase(name, names) for names in known.refused)}
    assert there - known.everywhere - refused == set()
    assert known.everywhere & refused == set()
    assert known.everywhere - there == set()
    assert len(there) > 700
