"""The dashboard files are consistent; an invalid file is refused with its name, line and key."""

import re
import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from dashboards.assets import FOLDER, Assets
from dashboards.views import MACROS, served, views
from dashboards.views import _empty as empty
from lakehouse.errors import ComplaintsError
from streaming.tables import TABLES


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the files, which a test may change."""
    return Path(shutil.copytree(FOLDER, tmp_path / "assets"))


def edit(path: Path, before: str, after: str) -> int:
    """Replace the first occurrence; returns its line number."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    return text[: text.index(before)].count("\n") + 1


def test_there_are_three_dashboards_and_every_chart_is_on_one(assets: Assets) -> None:
    assert [d.content["slug"] for d in assets.dashboards] == [
        "complaint-overview",
        "real-time-monitoring",
        "system-health",
    ]
    shown = {chart.uuid for dashboard in assets.dashboards for chart in assets.charts_of(dashboard)}
    assert shown == {chart.uuid for chart in assets.charts}


def test_every_dataset_has_the_columns_of_its_view(assets: Assets) -> None:
    connection = duckdb.connect()
    for table in served(TABLES):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        connection.execute(f"CREATE VIEW {table.name} AS {empty(table)}")
        for view in table.views:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view.layer}")
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql.format(table=table.name)}")
    for signature, body in MACROS.items():
        connection.execute(f"CREATE MACRO {signature} AS {body}")
    columns = {view.name: [c[0] for c in connection.execute(view.sql).description or ()] for view in views()}
    declared = {
        f"serving.{d.content['table_name']}": [
            c["column_name"] for c in d.content["columns"] if not c.get("expression")
        ]
        for d in assets.datasets
    }
    assert declared == columns


def test_every_column_and_metric_has_a_description_and_a_label(assets: Assets) -> None:
    prepared = assets.for_import(TABLES, None)
    for dataset in assets.datasets:
        content = yaml.safe_load(prepared[dataset.path])
        undocumented = [c["column_name"] for c in content["columns"] if not (c["description"] and c["verbose_name"])]
        undocumented += [m["metric_name"] for m in content["metrics"] if not (m["description"] and m["verbose_name"])]
        assert undocumented == [], dataset.path


def test_real_time_datasets_are_cached_5_seconds_and_historical_ones_5_minutes(assets: Assets) -> None:
    timeouts = {d.content["description"].split(":")[0]: d.content["cache_timeout"] for d in assets.datasets}
    assert timeouts == {"Real-time": 5, "Historical": 300}


def test_the_live_dashboard_refreshes_itself_every_10_seconds(assets: Assets) -> None:
    refresh = {d.content["slug"]: d.content["metadata"]["refresh_frequency"] for d in assets.dashboards}
    assert refresh["real-time-monitoring"] == 10


def test_no_chart_shows_a_time_relative_to_now(assets: Assets) -> None:
    """An hour after the last decision such a chart would be empty: the windows end at the latest data."""
    for chart in assets.charts:
        since = [
            str(condition.get("comparator")).split(" : ")[0] for condition in chart.content["params"]["adhoc_filters"]
        ]
        assert not [time for time in since if "now" in time or "today" in time], chart.path


def test_on_a_warehouse_datasets_contain_their_views_and_nothing_else_changes(assets: Assets) -> None:
    local, remote = assets.for_import(TABLES, None), assets.for_import(TABLES, "databricks://token@host/x")
    changed = {path for path in local if local[path] != remote[path]}
    assert changed == {a.path for a in (*assets.databases, *assets.datasets)}
    for dataset in assets.datasets:
        there = yaml.safe_load(remote[dataset.path])
        assert there.pop("sql").startswith(("SELECT", "WITH"))
        assert there == {k: v for k, v in yaml.safe_load(local[dataset.path]).items() if k != "sql"}


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("charts/relief-rate.yaml", "metric: relief_rate", "metric: relief", "params.metric: .*has no metric 'relief'"),
        ("charts/complaint-rows.yaml", "- company\n", "- firm\n", "params.all_columns: .* no column 'firm'; it has "),
        ("charts/relief-rate.yaml", "subject: date_received", "subject: day", "adhoc_filters: .* no column 'day'"),
        ("charts/lag.yaml", "sqlExpression: in_latest_hour", "sqlExpression: 'x'", "adhoc_filters: .* no column 'x'"),
        ("charts/relief-rate.yaml", "dataset_uuid: ", "dataset_uuid: x", "dataset_uuid: there is no file"),
        ("charts/relief-rate.yaml", "slice_name: Relief rate", "slice_name: [1]", "slice_name: should hold text"),
        ("charts/relief-rate.yaml", "params:", "params: {", "can't be read as YAML"),
        ("dashboards/system-health.yaml", "slug: system-health", "slag: x", "slug: is missing"),
        ("dashboards/system-health.yaml", "      uuid: ", "      uuid: x", "position: there is no chart with"),
        ("dashboards/complaint-overview.yaml", "datasetUuid: ", "datasetUuid: x", "'Product' has no dataset"),
        ("datasets/lakehouse/minutes.yaml", "\ncolumns:", "\ncolums:", "columns: is missing"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_named_with_line_and_key(
    copy: Path, name: str, before: str, after: str, message: str
) -> None:
    edit(copy / name, before, after)
    with pytest.raises(ComplaintsError, match=message) as error:
        Assets(copy)
    assert re.match(rf"\w+/{Path(name).name}:\d+", str(error.value))


def test_the_error_has_the_line_of_the_key(copy: Path) -> None:
    line = edit(copy / "charts/relief-rate.yaml", "metric: relief_rate", "metric: relief")
    with pytest.raises(ComplaintsError, match=rf"^charts/relief-rate\.yaml:{line}, params\.metric"):
        Assets(copy)


def test_a_duplicate_uuid_is_refused(copy: Path) -> None:
    shutil.copy(copy / "charts/relief-rate.yaml", copy / "charts/second.yaml")
    with pytest.raises(ComplaintsError, match=r"the uuid is that of charts/relief-rate\.yaml too"):
        Assets(copy)
