"""The SQL behind each chart, generated from the chart's file: what it selects, from which view, over what time.

It is Spark SQL, which DuckDB runs too with the macros of `dashboards.views`. `make docs` writes it to `sql/charts/`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dashboards.assets import Asset, Assets

FOLDER = Path(__file__).resolve().parent / "sql"
GRAINS = {"PT1M": "minute", "P1W": "week", "P1M": "month", "P3M": "quarter"}
ALL_TIME = "No filter"
OPERATORS = {"IN": "{column} IN ({values})", "IS NOT NULL": "{column} IS NOT NULL"}


def chart_sql(assets: Assets, chart: Asset) -> str:
    """One SELECT that returns what the chart shows, with a comment that describes it.

    Args:
        assets: the files.
        chart: one of its charts.
    """
    params = chart.content["params"]
    dataset = assets.dataset_of(chart).content
    view = f"{dataset['schema']}.{dataset['table_name']}"
    columns = _columns(dataset)
    dimensions = list(_dimensions(params, columns))
    measures = [(name, _expression(dataset, name)) for name in _metrics(params)]
    lines = [f"-- {chart.content['slice_name']}: {chart.content['description']}", "SELECT"]
    lines.append(
        ",\n".join(f"    {sql}" if sql == name else f"    {sql} AS {name}" for name, sql in (*dimensions, *measures))
    )
    lines.append(f"FROM {view}")
    if conditions := list(_conditions(params, columns)):
        lines.append("WHERE " + "\n  AND ".join(conditions))
    if measures and dimensions:
        lines.append("GROUP BY " + ", ".join(sql for _, sql in dimensions))
    if dimensions:
        lines.append(f"ORDER BY {_order(params, dimensions, measures)}")
        lines.append(f"LIMIT {params.get('row_limit', 1000)}")
    return "\n".join(lines) + "\n"


def chart_files(assets: Assets) -> dict[Path, str]:
    """The path of each chart's SQL file, with its text."""
    return {FOLDER / "charts" / f"{Path(chart.path).stem}.sql": chart_sql(assets, chart) for chart in assets.charts}


def _columns(dataset: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a dataset, each with its SQL."""
    return {column["column_name"]: column.get("expression") or column["column_name"] for column in dataset["columns"]}


def _expression(dataset: Mapping[str, Any], metric: str) -> str:
    return next(str(m["expression"]) for m in dataset["metrics"] if m["metric_name"] == metric)


def _metrics(params: Mapping[str, Any]) -> list[str]:
    if params.get("query_mode") == "raw":
        return []
    return list(params["metrics"]) if "metrics" in params else [params["metric"]]


def _dimensions(params: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if "x_axis" in params:
        name = params["x_axis"]
        grain = GRAINS.get(params.get("time_grain_sqla", ""))
        yield name, f"date_trunc('{grain}', {name})" if grain else columns[name]
    if "entity" in params:
        yield params["entity"], params["entity"]
    for name in params.get("groupby", params.get("all_columns", [])):
        yield name, columns[name]


def _conditions(params: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[str]:
    for condition in params["adhoc_filters"]:
        if condition["expressionType"] == "SQL":
            yield condition["sqlExpression"]
            continue
        column, value = columns[condition["subject"]], condition["comparator"]
        if condition["operator"] != "TEMPORAL_RANGE":
            values = ", ".join(f"'{one}'" for one in value or ())
            yield OPERATORS[condition["operator"]].format(column=column, values=values)
        elif value != ALL_TIME:
            yield f"{column} >= DATE'{str(value).split(' : ')[0]}'"


def _order(params: Mapping[str, Any], dimensions: list[tuple[str, str]], measures: list[tuple[str, str]]) -> str:
    if measures and "time_grain_sqla" not in params:
        return f"{measures[0][0]} DESC, {dimensions[0][0]}"
    if "time_grain_sqla" in params:
        return ", ".join(name for name, _ in dimensions)
    if "order_by_cols" not in params:
        return dimensions[0][0]
    (column, ascending), *_ = (json.loads(order) for order in params["order_by_cols"])
    ties = ", complaint_id" if "complaint_id" in dict(dimensions) else ""
    return f"{column} {'ASC' if ascending else 'DESC'}{ties}"


def write() -> None:
    """Write every chart's SQL, and delete the files of charts that no longer exist."""
    files = chart_files(Assets())
    for path in (FOLDER / "charts").glob("*.sql"):
        if path not in files:
            path.unlink()
    (FOLDER / "charts").mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
