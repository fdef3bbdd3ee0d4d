"""An analyst's SQL Lab can read only gold and the views over it, and write nothing."""

from pathlib import Path

import pytest

from tests.dashboards.live.conftest import Server, SqlLab

pytestmark = pytest.mark.superset


def test_gold_and_the_views_can_be_read(server: Server, sql_lab: SqlLab) -> None:
    decided = server.value("SELECT count(*) FROM gold.decisions")
    assert decided > 0
    assert sql_lab.value("SELECT count(*) FROM gold.decisions") == decided
    assert sql_lab.value("SELECT count(*) FROM serving.complaints") == decided


def test_an_analyst_drills_from_a_number_to_its_rows(server: Server, sql_lab: SqlLab) -> None:
    """Uses the request that a chart's menu sends."""
    number = next(d["id"] for d in sql_lab.get("/api/v1/dataset/") if d["table_name"] == "complaints")
    path = f"/datasource/samples?force=true&datasource_type=table&datasource_id={number}&per_page=1000&page=1"
    answer = sql_lab.post(path, {"filters": [{"col": "state", "op": "==", "val": "TX"}]})
    assert answer.status_code == 200, answer.text
    rows = answer.json()["result"]["data"]
    assert {row["state"] for row in rows} == {"TX"}
    assert len(rows) == server.value("SELECT count(*) FROM gold.decisions WHERE state = 'TX'")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO gold.decisions (complaint_id) VALUES (1)",
        "UPDATE gold.decisions SET probability = 1",
        "DELETE FROM gold.decisions",
        "CREATE TABLE gold.mine AS SELECT 1",
        "CREATE TEMP TABLE mine AS SELECT 1",
        "DROP VIEW gold.decisions",
        "ALTER TABLE gold.decisions ADD COLUMN x int",
        "ATTACH '{tables}/mine.db' AS mine",
        "ATTACH ':memory:' AS mine",
        "COPY (SELECT 1) TO '{tables}/gold/decisions/mine.csv'",
        "COPY gold.decisions TO '{tables}/gold/decisions/mine.parquet'",
        "EXPORT DATABASE '{tables}/gold/decisions/mine'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{tables}/gold/decisions/mine.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT 1; DROP VIEW gold.decisions",
        "SELECT 1; COPY (SELECT 1) TO '{tables}/gold/decisions/mine.csv'",
    ],
)
def test_nothing_can_be_written(server: Server, sql_lab: SqlLab, statement: str) -> None:
    before = files(server)
    status, text = sql_lab.run(statement.format(tables=server.settings.folder / "tables"))
    assert status >= 400, text
    assert files(server) == before


def files(server: Server) -> set[Path]:
    return {path for path in (server.settings.folder / "tables").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT content FROM read_text('{root}/superset/secret_key')",
        "SELECT * FROM read_csv('{root}/superset/secret_key')",
        "SELECT * FROM '{root}/superset/secret_key'",
        'SELECT * FROM "{root}/superset/secret_key"',
        "SELECT * FROM glob('{root}/*')",
        "SELECT * FROM delta_scan('{root}/tables/silver/complaints')",
        "SELECT * FROM delta_scan('{root}/tables/silver/quarantine')",
        "SELECT * FROM read_parquet('{root}/tables/silver/quarantine/*.parquet')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('silver.quarantine')",
        "SELECT * FROM silver.quarantine",
        "FROM silver.quarantine",
        "SUMMARIZE silver.quarantine",
        "DESCRIBE silver.quarantine",
        "SELECT * FROM lakehouse.silver.quarantine",
        "WITH q AS (FROM silver.quarantine) SELECT * FROM q",
        "SELECT (SELECT max(ingested_at) FROM silver.quarantine)",
        "SELECT * FROM silver.complaints",
        "SELECT * FROM duckdb_settings()",
    ],
)
def test_only_gold_can_be_read(server: Server, sql_lab: SqlLab, statement: str) -> None:
    status, text = sql_lab.run(statement.format(root=server.settings.folder))
    assert status >= 400, text
    assert (server.settings.folder / "superset" / "secret_key").read_text() not in text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/dashboard/", {"dashboard_title": "mine"}),
        ("/api/v1/chart/", {"slice_name": "mine", "viz_type": "table", "datasource_id": 1, "datasource_type": "table"}),
        ("/api/v1/dataset/", {"database": 1, "schema": "silver", "table_name": "quarantine"}),
        ("/api/v1/database/", {"database_name": "mine", "sqlalchemy_uri": "duckdb:///:memory:"}),
    ],
)
def test_an_analyst_can_create_nothing_that_others_would_see(
    sql_lab: SqlLab, path: str, body: dict[str, object]
) -> None:
    assert sql_lab.post(path, body).status_code == 403


def test_a_request_without_a_csrf_token_is_refused(sql_lab: SqlLab) -> None:
    answer = sql_lab.post("/api/v1/sqllab/execute/", {"database_id": 1, "sql": "SELECT 1"}, **{"X-CSRFToken": ""})
    assert answer.status_code == 400
    assert "CSRF" in answer.text
