"""SQL over the lake reads the latest rows, writes nothing, and reads no file outside the lake."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
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
from lakehouse.sql.query import open_views, query, running_query
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
        ("a", "one.csv", 10, 2, datetime(2026, 1, 2, 3, 4, 5, 678901), None, None),  # noqa: DTZ001 - naive, in UTC
        ("b", None, None, None, None, None, None),
    ]


def test_a_column_that_an_earlier_version_did_not_have_is_null(filled: Lake, tmp_path: Path) -> None:
    lake = Lake(filled.spark, load_settings(root=tmp_path))
    earlier = replace(FILES, columns=FILES.columns[:-1])
    lake.create([earlier])
    lake.append(lake.frame([{"sha256": "c"}], earlier), earlier, "test:1")
    result = query(lake.settings, TABLES, "SELECT sha256, unknown_columns FROM bronze.files")
    assert list(result.rows) == [("c", None)]


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


def test_only_the_rows_that_are_read_are_computed(settings: Settings) -> None:
    with running_query(settings, TABLES, "SELECT range FROM range(100000000000)", seconds=20) as found:
        assert found.columns == ["range"]
        assert [next(found.rows) for _ in range(3)] == [(0,), (1,), (2,)]


def test_the_limit_counts_reading_all_rows_but_not_what_the_reader_does(settings: Settings) -> None:
    endless = "SELECT range FROM range(100000000000)"
    with (
        pytest.raises(ComplaintsError, match=r"stopped after 0\.5 seconds"),
        running_query(settings, TABLES, endless, seconds=0.5) as found,
    ):
        for _ in found.rows:
            pass
    with running_query(settings, TABLES, "SELECT range FROM range(5000)", seconds=0.5) as found:
        next(found.rows)
        time.sleep(0.6)
        assert sum(1 for _ in found.rows) == 4999


def test_the_command_prints_the_first_hundred_rows_of_an_endless_result(settings: Settings) -> None:
    words = ["--root", str(settings.folder), "sql", "SELECT range AS number FROM range(100000000000)"]
    lines = CliRunner().invoke(cli, words).stdout.splitlines()
    assert [line.strip() for line in lines[:2]] == ["number", "0"]
    assert lines[-1] == "… these are the first 100 rows; --json prints all."
    assert len(lines) == 102


def test_json_has_all_rows_and_null_for_what_json_does_not_have(settings: Settings) -> None:
    statement = "SELECT range AS n, 'NaN'::double AS x, ['Infinity'::float] AS y FROM range(3000)"
    printed = CliRunner().invoke(cli, ["--root", str(settings.folder), "sql", "--json", statement]).stdout
    assert "NaN" not in printed
    answer = json.loads(printed)
    assert answer["columns"] == ["n", "x", "y"]
    assert answer["rows"] == [[n, None, [None]] for n in range(3000)]
    empty = CliRunner().invoke(cli, ["--root", str(settings.folder), "sql", "--json", "SELECT 1 AS x WHERE false"])
    assert json.loads(empty.stdout) == {"columns": ["x"], "rows": []}


@pytest.mark.parametrize("words", [["sql", "show tables;"], ["tables", "list"]])
def test_tables_are_listed_with_rows_and_comments(settings: Settings, words: list[str]) -> None:
    answer = json.loads(CliRunner().invoke(cli, ["--root", str(settings.folder), *words, "--json"]).stdout)
    by_name = {table["table"]: table for table in answer["tables"]}
    assert by_name.keys() == {table.name for table in TABLES}
    assert (by_name["bronze.files"]["rows"], by_name["gold.decisions"]["rows"]) == (2, None)
    assert by_name["bronze.files"]["columns"] == FILES.column_names
    lines = CliRunner().invoke(cli, ["--root", str(settings.folder), *words]).stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "columns", "comment"]
    assert any(
        line.split()[:3] == ["bronze.files", "2", str(len(FILES.columns))] and FILES.comment in line for line in lines
    )


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
