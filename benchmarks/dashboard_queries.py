"""Measure the query of each chart on an existing lake, run the way Superset's server runs it."""

import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from dashboards.assets import Assets
from dashboards.queries import chart_sql
from dashboards.server.lake_views import Views
from dashboards.views import MACROS, described
from lakehouse.guard.sql_guard import Guard
from lakehouse.settings import Settings
from lakehouse.tables.declaration import Table

REPEATS = 5


@dataclass(frozen=True)
class QueryTime:
    """One chart's query.

    Attributes:
        dashboard: slug of the first dashboard that has the chart.
        chart: its name.
        view: the view it reads.
        rows: rows it returns.
        first_ms: milliseconds of the first run.
        warm_ms: median of the following runs; only DuckDB and the OS cache data between them.
    """

    dashboard: str
    chart: str
    view: str
    rows: int
    first_ms: float
    warm_ms: float


def query_times(settings: Settings, tables: Sequence[Table]) -> list[QueryTime]:
    """Return the time of each chart's query on this lake; creates the views in its `superset` folder."""
    home = settings.folder / "superset"
    home.mkdir(parents=True, exist_ok=True)
    (home / "views.json").write_text(json.dumps(described(settings, tables)), encoding="utf-8")
    views, assets = Views(home), Assets()
    guard = Guard(views.described()["served"], MACROS)
    board_of = {c.uuid: board.content["slug"] for board in reversed(assets.dashboards) for c in assets.charts_of(board)}
    found = []
    for chart in assets.charts:
        dataset = assets.dataset_of(chart).content
        rows, times = _timed(guard, views.connection(), chart_sql(assets, chart))
        name, view = chart.content["slice_name"], f"{dataset['schema']}.{dataset['table_name']}"
        found.append(QueryTime(board_of[chart.uuid], name, view, rows, times[0], statistics.median(times[1:])))
    return sorted(found, key=lambda time: (time.dashboard, -time.warm_ms))


def _timed(guard: Guard, connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, list[float]]:
    times: list[float] = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        rows = len(connection.execute(guard.checked(connection, sql)).fetchall())
        times.append(round((time.perf_counter() - began) * 1_000, 1))
    return rows, times


def markdown(times: Iterable[QueryTime]) -> str:
    """Return the times as a Markdown table."""
    lines = ["| Dashboard | Chart | View | Rows | First, ms | Warm, ms |", "|---|---|---|---:|---:|---:|"]
    lines += [
        f"| {t.dashboard} | {t.chart} | {t.view} | {t.rows:,} | {t.first_ms:,.0f} | {t.warm_ms:,.0f} |" for t in times
    ]
    return "\n".join((*lines, ""))
