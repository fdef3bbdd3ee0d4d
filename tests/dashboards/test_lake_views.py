"""The DuckDB file that Superset reads shows the current lake and runs only single SELECTs."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from pyspark.sql import SparkSession

from dashboards.assets import Assets
from dashboards.queries import FOLDER, chart_files
from dashboards.server.lake_views import Views
from dashboards.views import MACROS, described, views
from gold.tables import BY_MINUTE, DECISIONS, STREAM_HEALTH
from lakehouse.guard.sql_guard import Guard, RefusedError
from lakehouse.settings import load_settings
from lakehouse.tables.lake import Lake
from silver.tables import QUARANTINE
from streaming.tables import TABLES


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake whose folder name needs quoting, with two minutes and one quarantined row."""
    lake = Lake(spark, load_settings(root=tmp_path_factory.mktemp("views") / "it's a lake"))
    lake.create([BY_MINUTE, QUARANTINE])
    lake.append(lake.frame([minute(1), minute(2)], BY_MINUTE), BY_MINUTE, "test:1")
    refused: list[dict[str, object]] = [{"record_id": "r", "payload": "hunter2", "reasons": ["not_json"]}]
    lake.append(lake.frame(refused, QUARANTINE), QUARANTINE, "test:1")
    return lake


def minute(number: int) -> dict[str, object]:
    whole = dict.fromkeys(("complaints", "escalated", "critical", "high", "without_text"), number)
    sums = dict.fromkeys(("probability_sum", "latency_ms_sum", "latency_ms_max"), float(number))
    at = datetime(2026, 1, 2, 3, number, tzinfo=UTC)
    return {"minute": at, "product_family": "Mortgage", "urgency": "high", **whole, **sums}


def home_of(lake: Lake, home: Path) -> Path:
    home.mkdir(exist_ok=True)
    (home / "views.json").write_text(json.dumps(described(lake.settings, TABLES)))
    return home


@pytest.fixture
def connection(lake: Lake, tmp_path: Path) -> duckdb.DuckDBPyConnection:
    return Views(home_of(lake, tmp_path / "home")).connection()


@pytest.fixture
def guard(lake: Lake) -> Guard:
    """The guard with the configuration of Superset's server."""
    return Guard(described(lake.settings, TABLES)["served"], MACROS)


def test_views_show_the_rows_of_the_tables(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute("SELECT minute, product, complaints FROM serving.minutes ORDER BY minute").fetchall()
    assert rows == [
        (datetime(2026, 1, 2, 3, 1, tzinfo=UTC), "Mortgage", 1),
        (datetime(2026, 1, 2, 3, 2, tzinfo=UTC), "Mortgage", 2),
    ]


def test_times_are_shown_in_utc_whatever_the_servers_time_zone(lake: Lake, tmp_path: Path) -> None:
    shown = "SELECT strftime(minute, '%H:%M'), date_trunc('hour', minute)::VARCHAR FROM serving.minutes ORDER BY 1"
    printed = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(home_of(lake, tmp_path / "home")), shown],
        env={**os.environ, "TZ": "America/New_York"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "[('03:01', '2026-01-02 03:00:00+00'), ('03:02', '2026-01-02 03:00:00+00')]"


def test_a_filter_by_time_is_pushed_down_to_the_files(own: Lake, tmp_path: Path) -> None:
    own.create([DECISIONS])
    own.append(own.frame([decided(second, second) for second in (4, 5, 6)], DECISIONS), DECISIONS, "test:1")
    connection = Views(home_of(own, tmp_path / "home")).connection()
    latest = "SELECT why FROM serving.decisions WHERE scored_at >= TIMESTAMP '2026-01-02 03:01:06'"
    assert len(connection.execute(latest).fetchall()) == 1
    plan = connection.execute(f"EXPLAIN {latest}").fetchall()[0][1]
    assert "scored_at>='2026-01-0203:01:06+00'" in re.sub(r"[\s│]", "", plan)  # without the box that DuckDB draws
    assert "FILTER" not in plan  # no separate operator above the scan


def test_every_view_can_be_read_while_its_tables_are_missing(connection: duckdb.DuckDBPyConnection) -> None:
    for view in views():
        assert connection.execute(f"SELECT * FROM {view.name} LIMIT 1").description, view.name  # noqa: S608
    assert connection.execute("SELECT state FROM serving.freshness WHERE table_name = 'gold.decisions'").fetchall() == [
        ("no data yet",)
    ]


def test_a_commit_is_seen_by_the_next_query_and_a_new_table_by_the_next_connection(lake: Lake, tmp_path: Path) -> None:
    own = Lake(lake.spark, load_settings(root=tmp_path / "own"))
    own.create([BY_MINUTE])
    open_views = Views(home_of(own, tmp_path / "home"))
    connection = open_views.connection()
    count = "SELECT count(*) FROM serving.minutes"
    assert connection.execute(count).fetchall() == [(0,)]
    own.append(own.frame([minute(1)], BY_MINUTE), BY_MINUTE, "test:1")
    assert connection.execute(count).fetchall() == [(1,)]
    own.create([STREAM_HEALTH])
    own.append(own.frame([{"query": "score", "query_id": "q", "run_id": "r", "batch_id": 1}], STREAM_HEALTH),
               STREAM_HEALTH, "test:1")  # fmt: skip
    assert open_views.connection().execute("SELECT query FROM serving.batches").fetchall() == [("score",)]


@pytest.fixture
def own(lake: Lake, tmp_path: Path) -> Lake:
    """A separate lake with one minute and one batch."""
    own = Lake(lake.spark, load_settings(root=tmp_path / "own"))
    own.create([BY_MINUTE, STREAM_HEALTH])
    own.append(own.frame([minute(1)], BY_MINUTE), BY_MINUTE, "test:1")
    batch: dict[str, object] = {"query": "score", "query_id": "q", "run_id": "r", "batch_id": 1}
    own.append(own.frame([batch], STREAM_HEALTH), STREAM_HEALTH, "test:1")
    return own


IN_A_PROCESS = """
import sys
from pathlib import Path
from dashboards.server.lake_views import Views
print(Views(Path(sys.argv[1])).connection().execute(sys.argv[2]).fetchall())
"""
MINUTES, BATCHES = "SELECT complaints FROM serving.minutes", "SELECT query FROM serving.batches"


def decided(number: int, batch: int) -> dict[str, object]:
    at = datetime(2026, 1, 2, 3, 1, number, tzinfo=UTC)
    needed = dict.fromkeys(("team", "recommended_action", "model_name", "model_version", "record_id"), "x")
    known = {"product_family": "Mortgage", "urgency": "high", "escalate": number == 1, "probability": 0.5}
    times = {"kafka_timestamp": at, "ingested_at": at, "scored_at": at}
    return {**needed, **known, **times, "complaint_id": number, "scored_with": "text", "batch_id": batch}


def test_minutes_include_decisions_that_are_not_summarised_yet_and_count_nothing_twice(
    own: Lake, tmp_path: Path
) -> None:
    own.create([DECISIONS, QUARANTINE])
    rows = [decided(1, 4), decided(2, 5), decided(3, 5)]
    own.append(own.frame(rows, DECISIONS), DECISIONS, "test:1")
    connection = Views(home_of(own, tmp_path / "home")).connection()
    minutes = "SELECT sum(complaints), sum(escalated), max(minute) FROM serving.minutes"
    at = datetime(2026, 1, 2, 3, 1, tzinfo=UTC)
    assert connection.execute(minutes).fetchall() == [(4, 2, at)]  # the row of `own` belongs to no batch
    summarised = {**minute(1), "complaints": 1, "scored_batch": 4}
    own.append(own.frame([summarised], BY_MINUTE), BY_MINUTE, "test:2")
    assert connection.execute(minutes).fetchall() == [(4, 2, at)]
    received = connection.execute("SELECT sum(received), sum(quarantined) FROM serving.intake").fetchall()
    assert received == [(4, 0)]


@pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "before it is opened"])
def test_a_missing_table_is_named_and_the_others_can_be_read(own: Lake, tmp_path: Path, *, is_open: bool) -> None:
    open_views = Views(home_of(own, tmp_path / "home"))
    assert open_views.connection().execute(MINUTES).fetchall() == [(1,)]
    shutil.move(own.path(BY_MINUTE), tmp_path / "away")
    if not is_open:
        open_views = Views(tmp_path / "home")
    with pytest.raises(duckdb.Error):
        open_views.connection().execute(MINUTES)
    assert open_views.why(MINUTES) == "The table gold.complaints_by_minute is gone from the lake."
    assert open_views.why(BATCHES) is None
    assert open_views.connection().execute(BATCHES).fetchall() == [("score",)]
    shutil.move(tmp_path / "away", own.path(BY_MINUTE))
    assert open_views.connection().execute(MINUTES).fetchall() == [(1,)]


def test_a_renamed_column_is_named_and_the_other_tables_can_be_read(own: Lake, tmp_path: Path) -> None:
    open_views = Views(home_of(own, tmp_path / "home"))
    assert open_views.connection().execute(MINUTES).fetchall() == [(1,)]
    renamed = own.read(BY_MINUTE).withColumnRenamed("escalated", "passed_on")
    renamed.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(str(own.path(BY_MINUTE)))
    for views_now in (open_views, Views(tmp_path / "home")):
        with pytest.raises(duckdb.Error):
            views_now.connection().execute(MINUTES)
        told = "The table gold.complaints_by_minute has no column escalated: run `complaints tables create`."
        assert views_now.why(MINUTES) == told
        assert views_now.connection().execute(BATCHES).fetchall() == [("score",)]


def test_the_file_has_no_payload_column(connection: duckdb.DuckDBPyConnection) -> None:
    columns = connection.execute("SELECT column_name FROM duckdb_columns() WHERE schema_name = 'silver'").fetchall()
    assert ("ingested_at",) in columns
    assert not {"payload", "narrative"} & {name for (name,) in columns}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO gold.decisions VALUES (1)",
        "UPDATE gold.decisions SET probability = 0",
        "DELETE FROM gold.decisions",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW gold.decisions",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "COPY gold.decisions FROM '{folder}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/x.csv'",
        "EXPORT DATABASE '{folder}/x'",
        "ATTACH '{folder}/x.db'",
        "ATTACH ':memory:' AS other",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL pragma_version()",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW gold.decisions",
        "",
        "SELEC 1",
        "SELECT * FROM read_text('{folder}/secret')",
        "SELECT * FROM read_csv('{folder}/secret')",
        "SELECT * FROM read_parquet('{folder}/*/*.parquet')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM delta_scan('{folder}')",
        "SELECT * FROM '{folder}/secret'",
        'SELECT * FROM "{folder}/secret"',
        "SELECT (SELECT max(content) FROM read_text('{folder}/secret'))",
        "WITH a AS (SELECT * FROM read_text('{folder}/secret')) SELECT * FROM a",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('silver.quarantine')",
        "SUMMARIZE silver.quarantine",
        "DESCRIBE silver.quarantine",
        "SHOW ALL TABLES",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM silver.quarantine",
        'SELECT * FROM "{folder}/*".parquet',
        "SELECT table_name FROM information_schema.tables",
        "SELECT write_blob('{folder}/x', 'x'::BLOB)",
    ],
)
def test_anything_but_one_select_over_views_is_refused(
    lake: Lake, connection: duckdb.DuckDBPyConnection, guard: Guard, statement: str
) -> None:
    folder = lake.settings.folder / "tables" / "gold" / "complaints_by_minute"  # DuckDB is allowed to read it
    with pytest.raises(RefusedError):
        guard.checked(connection, statement.format(folder=str(folder).replace("'", "''")))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT percentile(latency_s, 0.5) AS p50 FROM serving.decisions WHERE scored_at >= TIMESTAMP '2026-01-01'",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a JOIN range(3) AS r(n) USING (n); -- the end",
        "SELECT * FROM gold.decisions UNION ALL SELECT * FROM gold.decisions",
        "DESCRIBE gold.decisions",
        "SUMMARIZE serving.minutes",
    ],
)
def test_a_select_is_allowed(connection: duckdb.DuckDBPyConnection, guard: Guard, statement: str) -> None:
    connection.execute(guard.checked(connection, statement))


def test_the_projects_own_queries_are_allowed(connection: duckdb.DuckDBPyConnection, guard: Guard) -> None:
    written = [*chart_files(Assets()).values(), *(path.read_text() for path in (FOLDER / "analysts").glob("*.sql"))]
    assert len(written) > 50
    for sql in written:
        connection.execute(guard.checked(connection, sql))


@pytest.mark.parametrize("named", ["views", "sql_lab"])
def test_a_query_of_many_rows_spills_to_a_separate_folder(lake: Lake, tmp_path: Path, named: str) -> None:
    narrow = lake.settings.sql.model_copy(update={"memory": "100m"})
    home = tmp_path / "home"
    home.mkdir()
    settings = lake.settings.model_copy(update={"sql": narrow})
    (home / "views.json").write_text(json.dumps(described(settings, TABLES)))
    opened = Views(home, named).connection()
    folder = lake.settings.folder / "superset" / "spill" / f"{named}-{os.getpid()}"
    assert opened.execute("SELECT current_setting('temp_directory')").fetchall() == [(str(folder),)]
    sorted_ = "SELECT count(*) FROM (SELECT uuid() AS u, range FROM range(3000000) ORDER BY u OFFSET 1)"
    assert opened.execute(sorted_).fetchall() == [(2_999_999,)]


@pytest.mark.parametrize(
    "statement",
    ["COPY (SELECT 1) TO '/tmp/never.csv'", "ATTACH '/tmp/never.db'", "SELECT * FROM read_text('/etc/hostname')"],
)
def test_duckdb_itself_refuses_file_access(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    with pytest.raises(duckdb.Error, match=r"Permission Error|disabled by configuration"):
        connection.execute(statement)


def test_the_view_file_is_read_only_and_its_settings_are_locked(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("CREATE TABLE gold.x (n int)")
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET enable_external_access = true")
