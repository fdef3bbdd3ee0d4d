"""The reference of the dashboards, generated from their files: as Markdown and as JSON.

`make docs` writes them to `docs/dashboards.md` and `docs/dashboards.json`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dashboards.assets import METRIC_KEYS, Asset, Assets
from lakehouse.tables.declaration import Table

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
LEAD = """# Dashboards

Made from `dashboards/` by `make docs`; change the files there, not this page.

**To open them**: `complaints superset start` installs Superset beside the project, configures it and starts it on
127.0.0.1; the passwords of its three accounts are shown once. `complaints superset status` says what runs,
`complaints superset stop` ends it, `complaints superset password analyst` sets a new password. `complaints live` does
all this and streams sample complaints, until Ctrl-C.

**For analysts** (account `analyst`): *Complaint Overview*. The bar above filters by time, product, state, company and
channel; a click on a slice of the products or on a row of the states filters all the rest; the menu of a chart drills
to its rows. SQL Lab reads `gold.*` and the views `serving.*`, one SELECT at a time; `dashboards/sql/` has templates.

**For operators** (account `operator`): *Real-time Monitoring* refreshes itself every 10 seconds, *System Health and
Model Quality* every minute; `complaints models quality` brings its figures of the model up to date. An operator may
also make charts; those of the files are changed by `admin`, and `complaints superset export` writes what was changed in
the browser back to the files.

The real-time charts show the latest hour that has data, whenever that was: each view marks its rows with
`in_latest_hour`. *Latest data* says until when, and when nothing has been decided for ten minutes, how to start a
stream. A time in the future, from a producer whose clock is wrong, does not count. A line is interrupted where there
are no data; a count is 0 there.

Rates carry their meaning below. Credit reporting is most of the public data, so counts and relief are also shown
without it. Resolution days are days from receipt until the complaint was sent to the company: the public data hold no
other span. What a chart was shown is kept for 5 minutes where the dataset is historical (the refresh button of a
dashboard queries again), for 5 seconds where it is real-time, and is then deleted.

**When something is missing**: over a lake without tables the dashboards open, *Data as of* says "no data yet", and
*Latest data* says how to start a stream. A table that is gone, or has lost a column, is named by the charts that read
it; the others stay. A server that was killed, or an installation that was left half-way, is reported by `complaints
superset status` and repaired by `complaints superset start`. A file that is wrong is refused with its line and key
before anything is imported.

**Where Superset keeps its own things**: in SQLite under `COMPLAINTS_ROOT`; in PostgreSQL when
`COMPLAINTS_SUPERSET__METADATA` gives its address, like `postgresql+psycopg2://user@host/superset`.

**How fast**: `complaints bench queries --rows 10000000` measures the query behind each chart on gold of that size, made
of the lake's own decisions, and writes the times as a table to `<root>/reports`. `complaints superset snapshot` tells
how long a browser took to open a dashboard; after `complaints superset configure` nothing is kept, and it opens cold.

On two cores, with 10 million decisions, every chart's query took at most 0.35 s once warm, and those that look for the
latest decision first at most 0.5 s. What makes it so: the real-time charts read the minutes' aggregate, outcomes are
counted without a join, and the views hand DuckDB each time as it is stored, since a filter reaches the files through a
plain column only: by *High-urgency complaints*, a fixed hour was found in 1.1 s through a conversion, and in 0.09 s
without. `in_latest_hour` reaches them when it stands alone as a condition, not when it is compared with true. Over the
lake that `make demo` leaves, a browser on the same two cores opened *Complaint Overview* cold in 6.3 to 6.8 s,
*Real-time Monitoring* in 3.9 s, *System Health and Model Quality* in 3.0 s; the overview's data had all come after 4 s,
and the rest went into drawing fifteen charts.
"""


def reference(assets: Assets, tables: Iterable[Table]) -> dict[str, Any]:
    """Every dashboard with its charts, and every dataset with its metrics and columns, as plain data."""
    prepared = assets.for_import(tables, None)
    datasets = {dataset.uuid: yaml.safe_load(prepared[dataset.path]) for dataset in assets.datasets}
    return {
        "dashboards": [
            {
                "title": board.content["dashboard_title"],
                "slug": board.content["slug"],
                "description": board.content["description"],
                "refresh_seconds": board.content["metadata"]["refresh_frequency"] or None,
                "filters": [native["name"] for native in board.content["metadata"]["native_filter_configuration"]],
                "charts": [_chart(chart, datasets[chart.content["dataset_uuid"]]) for chart in assets.charts_of(board)],
            }
            for board in assets.dashboards
        ],
        "datasets": [_dataset(dataset) for dataset in datasets.values()],
    }


def _chart(chart: Asset, dataset: Mapping[str, Any]) -> dict[str, Any]:
    used = {name for key in METRIC_KEYS for name in _listed(chart.content["params"].get(key))}
    return {
        "name": chart.content["slice_name"],
        "description": chart.content["description"],
        "kind": chart.content["viz_type"],
        "dataset": f"{dataset['schema']}.{dataset['table_name']}",
        "metrics": [metric["metric_name"] for metric in dataset["metrics"] if metric["metric_name"] in used],
        "cache_seconds": dataset["cache_timeout"],
        "sql": f"dashboards/sql/charts/{Path(chart.path).stem}.sql",
    }


def _listed(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{dataset['schema']}.{dataset['table_name']}",
        "description": dataset["description"],
        "cache_seconds": dataset["cache_timeout"],
        "metrics": [
            {
                "name": m["metric_name"],
                "label": m["verbose_name"],
                "formula": m["expression"],
                "meaning": m["description"],
            }
            for m in dataset["metrics"]
        ],
        "columns": [
            {
                "name": column["column_name"],
                "type": column["type"],
                "label": column["verbose_name"],
                "meaning": column["description"],
                "formula": column.get("expression"),
            }
            for column in dataset["columns"]
        ],
    }


def markdown(content: Mapping[str, Any]) -> str:
    """The reference as a Markdown page."""
    parts = [LEAD]
    parts += [_board(board) for board in content["dashboards"]]
    parts += ["## Datasets\n", *(_section(dataset) for dataset in content["datasets"])]
    return "\n".join(parts)


def _board(board: Mapping[str, Any]) -> str:
    refresh = f"Refreshes itself every {board['refresh_seconds']} s." if board["refresh_seconds"] else ""
    filters = f"Filters: {', '.join(board['filters'])}." if board["filters"] else ""
    lines = [f"## {board['title']}", "", " ".join(filter(None, (board["description"], refresh, filters))), ""]
    lines += [f"![{board['title']}](dashboards/{board['slug']}.png)", ""]
    lines += ["| Chart | What it shows | Metrics | From | Kept | SQL |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {c['name']} | {c['description']} | {', '.join(c['metrics'])} | {c['dataset']} | {_kept(c)} "
        f"| [{Path(c['sql']).name}](../{c['sql']}) |"
        for c in board["charts"]
    ]
    return "\n".join((*lines, ""))


def _kept(content: Mapping[str, Any]) -> str:
    minutes, seconds = divmod(content["cache_seconds"], 60)
    return f"{minutes} min" if minutes else f"{seconds} s"


def _section(dataset: Mapping[str, Any]) -> str:
    lines = [f"### {dataset['name']}", "", dataset["description"], ""]
    lines += ["| Metric | Label | Formula | Meaning |", "|---|---|---|---|"]
    lines += [f"| {m['name']} | {m['label']} | `{m['formula']}` | {m['meaning']} |" for m in dataset["metrics"]]
    lines += ["", "| Column | Type | Label | Meaning |", "|---|---|---|---|"]
    for c in dataset["columns"]:
        formula = f" Calculated: `{c['formula'].replace('|', '&#124;')}`." if c["formula"] else ""
        lines.append(f"| {c['name']} | {c['type']} | {c['label']} | {c['meaning'].replace('|', '/')}{formula} |")
    return "\n".join((*lines, ""))


def pages(tables: Iterable[Table]) -> dict[Path, str]:
    """The files of the reference by path, with their text."""
    content = reference(Assets(), tables)
    return {
        DOCS / "dashboards.md": markdown(content),
        DOCS / "dashboards.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
    }
