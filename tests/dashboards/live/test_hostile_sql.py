"""A hostile analyst can write nothing, read only gold, and not block other users of Superset."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.dashboards.live.conftest import Server, SqlLab

pytestmark = pytest.mark.superset

SECONDS = 10.0  # query timeout, instead of the one in the settings
WRITES = "write_blob('{file}', 'x'::BLOB)"


@pytest.fixture
def words(server: Server) -> dict[str, str]:
    """Values for the statements: a file that must not be created, and folders that must not be read."""
    tables = server.settings.folder / "tables"
    return {"file": str(tables / "gold/decisions/forged"), "tables": str(tables), "root": str(server.settings.folder)}


def files(server: Server) -> set[Path]:
    """Return all files except those that Superset itself writes during queries."""
    own = ("cache", "metadata.db", "server.log", "views", "sql_lab", "spill", "tmp")
    root = server.settings.folder
    below = (path for path in root.rglob("*") if path.is_file())
    return {path for path in below if not any(path.is_relative_to(root / "superset" / name) for name in own)}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT {write}",
        "SELECT main.{write}",
        "SELECT n FROM (SELECT 1 AS n) ORDER BY {write}",
        "SELECT list_transform([1], lambda e: {write})",
        "SELECT [{write} FOR e IN [1]]",
        "SELECT count(*) FILTER (WHERE {write}) OVER (PARTITION BY {write}) FROM gold.decisions",
        "SELECT * FROM (SELECT 1 LIMIT CASE WHEN {write} THEN 1 END)",
        "WITH decisions AS (SELECT {write} AS x) SELECT * FROM decisions",
        "WITH write_blob AS (SELECT 1) SELECT {write} FROM write_blob",
        "SELECT * FROM gold.decisions PIVOT (max({write}) FOR urgency IN ('low'))",
        "SELECT COLUMNS(c -> {write}) FROM gold.decisions",
        "SUMMARIZE SELECT {write}",
        "SELECT /* {write} */ {write}",
        "SELECT getvariable('x')",
        "SELECT current_setting('allowed_directories')",
        "SELECT * FROM query('SELECT {write_quoted}')",
        "SELECT * FROM duckdb_views()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_tables",
        "SELECT * FROM sqlite_master",
        'SELECT * FROM "{tables}/silver/quarantine/*".parquet',
        'WITH parquet AS (SELECT 1) SELECT * FROM "{tables}/silver/quarantine/*".parquet',
        'WITH parquet AS (FROM "{tables}/silver/complaints/*".parquet) SELECT * FROM parquet',
        "WITH quarantine AS (SELECT 1 AS x) SELECT * FROM silver.quarantine",
        "WITH quarantine AS (SELECT 1 AS x), outcomes AS (FROM silver.outcomes) SELECT * FROM outcomes, quarantine",
        "WITH complaints AS (SELECT 1) SELECT * FROM silver.complaints",
        "SELECT * FROM gold.decisions UNION ALL BY NAME SELECT * FROM silver.quarantine",
        "DESCRIBE silver.quarantine",
        "SUMMARIZE silver.quarantine",
        "SHOW ALL TABLES",
        "FROM silver.quarantine SELECT *",
        "TABLE silver.quarantine",
        "SELECT * FROM gold.decisions AT (VERSION => 0)",
        "EXPLAIN ANALYZE SELECT {write}",
        "PREPARE p AS SELECT {write}",
        "EXECUTE p",
        "SELECT 1; SELECT {write}",
        "SELECT 1 -- \n; SELECT {write}",
        "{{{{ 1 }}}}",
        "SELECT '{{{{ current_user_id() }}}}' AS x, {write}",
    ],
)
def test_sql_lab_writes_nothing_and_reads_only_gold(
    server: Server, sql_lab: SqlLab, words: dict[str, str], statement: str
) -> None:
    before, write = files(server), WRITES.format(**words)
    status, text = sql_lab.run(statement.format(write=write, write_quoted=write.replace("'", "''"), **words))
    assert status >= 400, text
    assert files(server) == before


def adhoc(sql: str) -> dict[str, str]:
    return {"expressionType": "SQL", "sqlExpression": sql, "label": "mine"}


def request_chart(sql_lab: SqlLab, query: dict[str, Any]) -> requests.Response:
    """Send the request by which a chart gets its rows."""
    number = next(d["id"] for d in sql_lab.get("/api/v1/dataset/") if d["table_name"] == "complaints")
    counted = {**adhoc("count(*)"), "label": "n"}
    base = {"columns": [], "metrics": [counted], "orderby": [], "filters": [], "row_limit": 10}
    body = {"datasource": {"id": number, "type": "table"}, "force": True, "queries": [{**base, **query}]}
    return sql_lab.post("/api/v1/chart/data", {**body, "result_format": "json", "result_type": "full"})


# The places where a chart accepts SQL from the user.
CHARTS: dict[str, Any] = {
    "metric": lambda sql: {"metrics": [adhoc(f"max({sql})")]},
    "column": lambda sql: {"columns": [adhoc(sql)]},
    "rows": lambda sql: {"columns": [adhoc(sql)], "metrics": None},
    "where": lambda sql: {"extras": {"where": f"({sql}) IS NOT NULL"}},
    "having": lambda sql: {"extras": {"having": f"max({sql}) IS NOT NULL"}},
    "order": lambda sql: {"columns": ["state"], "orderby": [[adhoc(f"max({sql})"), False]]},
}


@pytest.mark.parametrize("place", CHARTS)
def test_a_custom_chart_writes_nothing_and_reads_only_gold(
    server: Server, sql_lab: SqlLab, words: dict[str, str], place: str
) -> None:
    fine = request_chart(sql_lab, CHARTS[place]("upper(state)"))
    assert fine.status_code == 200, fine.text
    before = files(server)
    for sql in (
        WRITES,
        "list_transform([1], lambda e: " + WRITES + ")[1]",
        "(SELECT max(ingested_at) FROM silver.quarantine)",
        "(SELECT max(content) FROM read_text('{root}/superset/secret_key'))",
        'state) FROM "{tables}/silver/quarantine/*".parquet --',
    ):
        answer = request_chart(sql_lab, CHARTS[place](sql.format(**words)))
        assert answer.status_code >= 400, answer.text
    assert files(server) == before


@pytest.fixture
def short_timeout(server: Server) -> Iterator[None]:
    """Shorten the query timeout; the server reads its configuration for every query."""
    path = server.settings.folder / "superset" / "views.json"
    text = path.read_text()
    described = json.loads(text)
    described["limits"]["seconds"] = SECONDS
    path.write_text(json.dumps(described))
    yield
    path.write_text(text)


BAD = [
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = -1",
    "SELECT min(a.due_on) FROM gold.decisions a, gold.decisions b, gold.decisions c, gold.decisions d",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM (SELECT DISTINCT uuid() FROM range(1000000000))",
]


def run_with_unique_id(sql_lab: SqlLab, statement: str) -> tuple[int, str]:
    """Run a statement as `SqlLab.run` does, with a client id that is unique among concurrent queries."""
    body = {"database_id": sql_lab.databases["lakehouse"], "sql": statement, "runAsync": False, "schema": "serving"}
    answer = sql_lab.post("/api/v1/sqllab/execute/", {**body, "client_id": uuid.uuid4().hex[:10]})
    return answer.status_code, answer.text


@pytest.mark.usefixtures("short_timeout")
def test_sixteen_bad_queries_end_and_leave_dashboards_answering(server: Server, sql_lab: SqlLab) -> None:
    request_chart(sql_lab, {"columns": ["state"]})
    start = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        bad = [pool.submit(run_with_unique_id, sql_lab, BAD[number % len(BAD)]) for number in range(16)]
        answered = 0
        while time.monotonic() < start + SECONDS:
            answer = request_chart(sql_lab, {"columns": ["state"]})
            assert answer.status_code == 200, answer.text
            assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
            answered += 1
        answers = [each.result(60) for each in bad]
    assert answered
    assert [text for status, text in answers if status < 400] == []
    assert [text for _, text in answers if f"was stopped after {SECONDS:.0f} seconds" in text]


@pytest.mark.usefixtures("short_timeout")
def test_a_bad_chart_ends_too(sql_lab: SqlLab) -> None:
    start = time.monotonic()
    endless = "count(*) + list_sum(list_transform(range(100000000), lambda e: e))"
    answer = request_chart(sql_lab, {"metrics": [adhoc(endless)]})
    assert answer.status_code >= 400, answer.text
    assert time.monotonic() - start < 60
