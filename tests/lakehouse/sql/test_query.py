"""SQL over the lake reads the latest rows, writes nothing, and reads no file outside the lake."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from bronze.tables import FILES
from complaints import cli
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.sql.query import open_views, query
from lakehouse.tables.lake import Lake
from streaming.tables import TABLES


@pytest.fixture(scope="module")
def filled(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with one table of two rows, in a folder whose name needs quoting."""
    lake = Lake(spark, load_settings(root=tmp_path_factory.mktemp("sql") / "it's a lake"))
    lake.create([FILES])
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    records: list[dict[str, object]] = [
        {"sha256": "a", "file": "one.csv", "bytes": 10, "rows": 2, "loaded_at": moment},
        {"sha256": "b"},
    ]
    lake.append(lake.frame(records, FILES), FILES, "test:1")
    return lake


@pytest.fixture
def settings(filled: Lake) -> Iterator[Settings]:
    """The settings of that lake; the test must not create or delete files in it."""
    before = files(filled)
    yield filled.settings
    assert files(filled) == before


def files(lake: Lake) -> set[Path]:
    return {path for path in (lake.settings.folder / "tables").rglob("*") if path.is_file()}


def test_rows_come_with_their_columns_and_timestamps_in_utc(settings: Settings) -> None:
    result = query(settings, TABLES, "SELECT * FROM bronze.files ORDER BY sha256; -- the end")
    assert list(result.columns) == FILES.column_names
    assert list(result.rows) == [
        ("a", "one.csv", 10, 2, datetime(2026, 1, 2, 3, 4, 5, 678901)),  # noqa: DTZ001 - naive, in UTC
        ("b", None, None, None, None),
    ]


def test_the_next_query_sees_appended_rows(filled: Lake, tmp_path: Path) -> None:
    lake = Lake(filled.spark, load_settings(root=tmp_path))
    lake.create([FILES])
    count = "SELECT count(*) FROM bronze.files"
    assert query(lake.settings, TABLES, count).rows[0][0] == 0
    lake.append(lake.frame([{"sha256": "c"}], FILES), FILES, "test:1")
    assert query(lake.settings, TABLES, count).rows[0][0] == 1


def test_parameters_are_values_and_never_sql(settings: Settings) -> None:
    statement = "SELECT count(*) FROM bronze.files WHERE file = $name"
    assert query(settings, TABLES, statement, {"name": "one.csv"}).rows[0][0] == 1
    assert query(settings, TABLES, statement, {"name": "' OR 1 = 1 --"}).rows[0][0] == 0


@pytest.mark.parametrize("statement", ["DESCRIBE bronze.files", "SUMMARIZE bronze.files", "SHOW ALL TABLES"])
def test_statements_that_describe_the_lake_run(settings: Settings, statement: str) -> None:
    assert query(settings, TABLES, statement).rows


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM bronze.files; SELECT 2",
        "INSERT INTO bronze.files VALUES ('x', 'x', 1, 1, now())",
        "UPDATE bronze.files SET rows = 0",
        "DELETE FROM bronze.files",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW bronze.files",
        "COPY (SELECT 1) TO '{tables}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{tables}/x.csv'",
        "EXPORT DATABASE '{tables}/x'",
        "ATTACH '{tables}/x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL pragma_version()",
        "PRAGMA enable_profiling",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW bronze.files",
        "",
        "-- nothing",
    ],
)
def test_anything_but_one_select_is_refused(settings: Settings, statement: str) -> None:
    with pytest.raises(ComplaintsError, match=r"^The SQL can't be run: (Only one SELECT|Parser Error)"):
        query(settings, TABLES, statement.format(tables=str(settings.folder / "tables").replace("'", "''")))


@pytest.mark.parametrize(
    "source",
    [
        "read_text('{file}')",
        "read_csv('{file}')",
        "'{file}'",
        "glob('{folder}/*')",
        "delta_scan('{folder}')",
        '"{folder}/*".csv',
        "(SELECT write_blob('{folder}/new', 'x'::BLOB))",
    ],
)
def test_no_file_outside_the_lake_is_read(settings: Settings, tmp_path: Path, source: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hunter2\n")
    with pytest.raises(ComplaintsError, match="The SQL can't be run") as error:
        query(settings, TABLES, f"SELECT * FROM {source.format(file=secret, folder=tmp_path)}")  # noqa: S608
    assert "hunter2" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_a_delta_table_outside_the_lake_is_not_read(settings: Settings, filled: Lake, tmp_path: Path) -> None:
    filled.spark.range(2).write.format("delta").save(str(tmp_path / "other"))
    with open_views(settings, TABLES) as connection, pytest.raises(duckdb.Error, match="Cannot access file"):
        connection.execute(f"SELECT * FROM delta_scan('{tmp_path / 'other'}')")  # noqa: S608


ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range < 0"


def test_a_query_that_takes_too_long_is_stopped_with_a_message(settings: Settings) -> None:
    with pytest.raises(ComplaintsError, match=r"stopped after 0\.2 seconds"):
        query(settings, TABLES, ENDLESS, seconds=0.2)


def test_the_command_has_a_limit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_SQL__SECONDS", "0.2")
    result = CliRunner().invoke(cli, ["--root", str(settings.folder), "sql", ENDLESS])
    assert isinstance(result.exception, ComplaintsError)
    assert "stopped after 0.2 seconds" in str(result.exception)


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT nothing FROM bronze.files", "SELECT * FROM gold.decisions"])
def test_a_duckdb_error_is_reported_in_one_line(settings: Settings, statement: str) -> None:
    with pytest.raises(ComplaintsError, match=r"^The SQL can't be run: [^\n]+$"):
        query(settings, TABLES, statement)


def test_without_tables_the_error_names_the_command_that_creates_them(tmp_path: Path) -> None:
    with pytest.raises(ComplaintsError, match=r"^There are no tables in .* yet: run `complaints load` first\.$"):
        query(load_settings(root=tmp_path), TABLES, "SELECT 1")
