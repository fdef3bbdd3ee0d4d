"""The dashboards as code: `assets/` in Superset's own export format, checked before anything is imported.

Files refer to each other by `uuid`. Superset gets them as text by path.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from dashboards.views import SCHEMA, served, views
from lakehouse.rules.files import RuleFile, read_rules
from lakehouse.tables.declaration import Table

FOLDER = Path(__file__).resolve().parent / "assets"
# The keys that a file of each kind must have, with the type of their value.
KEYS: Mapping[str, Mapping[str, type]] = {
    "databases": {"database_name": str, "sqlalchemy_uri": str, "uuid": str},
    "datasets": {"table_name": str, "schema": str, "uuid": str, "database_uuid": str, "columns": list, "metrics": list},
    "charts": {
        "slice_name": str,
        "description": str,
        "viz_type": str,
        "params": dict,
        "uuid": str,
        "dataset_uuid": str,
    },
    "dashboards": {"dashboard_title": str, "slug": str, "uuid": str, "position": dict, "metadata": dict},
}
KINDS: Mapping[type, str] = {str: "text", list: "a list", dict: "keys and values"}
# The keys of a chart's params that name columns of its dataset, or metrics.
COLUMN_KEYS = ("groupby", "all_columns", "x_axis", "entity", "columns")
METRIC_KEYS = ("metric", "metrics", "timeseries_limit_metric")


@dataclass(frozen=True)
class Asset:
    """One file: its kind (the folder), its path within `assets/`, and its content with lines."""

    kind: str
    path: str
    file: RuleFile

    @property
    def content(self) -> dict[str, Any]:
        """The file's content."""
        return self.file.content

    @property
    def uuid(self) -> str:
        """The uuid by which other files refer to it."""
        return str(self.content["uuid"])


class Assets:
    """The checked files of one folder.

    Raises:
        ComplaintsError: a file is wrong; names file, line and key.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._all = [_read(folder, path) for path in sorted(folder.rglob("*.yaml")) if path.parent != folder]
        self._refuse_repeated()
        for chart in self.charts:
            self._check_chart(chart)
        for dataset in self.datasets:
            self._referred(dataset, "database_uuid", self.databases)
        for dashboard in self.dashboards:
            self._check_dashboard(dashboard)

    def _of(self, kind: str) -> list[Asset]:
        return [asset for asset in self._all if asset.kind == kind]

    @property
    def databases(self) -> list[Asset]:
        """The one database, gold."""
        return self._of("databases")

    @property
    def datasets(self) -> list[Asset]:
        """The datasets, each a view."""
        return self._of("datasets")

    @property
    def charts(self) -> list[Asset]:
        """The charts."""
        return self._of("charts")

    @property
    def dashboards(self) -> list[Asset]:
        """The dashboards."""
        return self._of("dashboards")

    @cached_property
    def by_uuid(self) -> dict[str, Asset]:
        """Each file by its uuid."""
        return {asset.uuid: asset for asset in self._all}

    def charts_of(self, dashboard: Asset) -> list[Asset]:
        """The charts of a dashboard in the order of its rows."""
        return [self.by_uuid[place["meta"]["uuid"]] for place in _places(dashboard)]

    def dataset_of(self, chart: Asset) -> Asset:
        """The dataset that a chart reads."""
        return self.by_uuid[chart.content["dataset_uuid"]]

    def _refuse_repeated(self) -> None:
        first: dict[str, Asset] = {}
        for asset in self._all:
            if asset.uuid in first:
                found = f"the uuid is that of {first[asset.uuid].path} too"
                asset.file.refuse(found, line=asset.file.content.lines["uuid"], key="uuid")
            first[asset.uuid] = asset

    def _referred(self, asset: Asset, key: str, among: Iterable[Asset]) -> Asset:
        found = {other.uuid: other for other in among}
        if asset.content[key] not in found:
            lines = asset.file.content.lines
            asset.file.refuse(f"there is no file with the uuid {asset.content[key]}", line=lines[key], key=key)
        return found[asset.content[key]]

    def _check_chart(self, chart: Asset) -> None:
        dataset = self._referred(chart, "dataset_uuid", self.datasets)
        columns = {column["column_name"] for column in dataset.content["columns"]}
        metrics = {metric["metric_name"] for metric in dataset.content["metrics"]}
        params = chart.content["params"]
        for keys, known, what in ((COLUMN_KEYS, columns, "column"), (METRIC_KEYS, metrics, "metric")):
            for key in keys:
                for name in _names(params.get(key)):
                    if name not in known:
                        found = f"{dataset.path} has no {what} '{name}'; it has {', '.join(sorted(known))}"
                        chart.file.refuse(found, line=params.lines[key], key=f"params.{key}")
        for condition in params.get("adhoc_filters", []):
            name = condition.get("sqlExpression", condition.get("subject"))  # of SQL: a column that is true or false
            if name not in columns:
                found = f"{dataset.path} has no column '{name}'"
                chart.file.refuse(found, line=condition.line, key="params.adhoc_filters")

    def _check_dashboard(self, dashboard: Asset) -> None:
        charts = {chart.uuid for chart in self.charts}
        for place in _places(dashboard):
            if place["meta"]["uuid"] not in charts:
                found = f"there is no chart with the uuid {place['meta']['uuid']}"
                dashboard.file.refuse(found, line=place["meta"].lines["uuid"], key="position")
        datasets = {dataset.uuid for dataset in self.datasets}
        for native in dashboard.content["metadata"].get("native_filter_configuration", []):
            for target in native["targets"]:
                if target and target.get("datasetUuid") not in datasets:
                    found = (
                        f"the filter '{native.get('name')}' has no dataset with the uuid {target.get('datasetUuid')}"
                    )
                    dashboard.file.refuse(found, line=native.line, key="metadata.native_filter_configuration")

    def for_import(self, tables: Iterable[Table], warehouse: str | None) -> dict[str, str]:
        """The files as Superset imports them, by path.

        Args:
            tables: the catalog, whose comments describe the columns that charts show under the same name.
            warehouse: SQLAlchemy URL of a SQL warehouse; None for the local lake. On a warehouse each dataset is the
                SELECT of its view, since the views exist only in the local DuckDB file.
        """
        meaning: dict[str, str] = {}
        for table in sorted(served(tables), key=lambda table: table.layer):  # gold before silver
            for column in table.columns:
                meaning.setdefault(column.name, column.comment)
        return {
            "metadata.yaml": (self.folder / "metadata.yaml").read_text(encoding="utf-8"),
            **{asset.path: _dumped(_prepared(asset, meaning, warehouse)) for asset in self._all},
        }


def _read(folder: Path, path: Path) -> Asset:
    kind = path.relative_to(folder).parts[0]
    file = read_rules(path)
    if kind not in KEYS:
        file.refuse(f"the folder '{kind}' is none of {', '.join(KEYS)}", line=1)
    for key, type_ in KEYS[kind].items():
        value = file.content.get(key)
        if not isinstance(value, type_) or value == "":
            line = file.content.lines.get(key, 1)
            found = f"should hold {KINDS[type_]}" if key in file.content else "is missing"
            file.refuse(found, line=line, key=key)
    return Asset(kind, path.relative_to(folder).as_posix(), file)


def _places(dashboard: Asset) -> list[Any]:
    """The positions of charts, row by row."""
    position = dashboard.content["position"]

    def below(key: str) -> Iterator[Any]:
        place = position[key]
        if place["type"] == "CHART":
            yield place
        for child in place.get("children", []):
            yield from below(child)

    return list(below("ROOT_ID"))


def _names(value: object) -> list[str]:
    """Names of columns or metrics in a param, without those that a chart defines itself."""
    values = value if isinstance(value, list) else [value]
    return [name for name in values if isinstance(name, str)]


def _prepared(asset: Asset, meaning: Mapping[str, str], warehouse: str | None) -> dict[str, Any]:
    if asset.kind == "databases" and warehouse:
        return {**asset.content, "sqlalchemy_uri": warehouse}
    if asset.kind == "datasets":
        return _prepared_dataset(asset.content, meaning, virtual=warehouse is not None)
    return asset.content


def _prepared_dataset(content: Mapping[str, Any], meaning: Mapping[str, str], *, virtual: bool) -> dict[str, Any]:
    columns = [
        {**column, "description": column.get("description") or meaning.get(column["column_name"])}
        for column in content["columns"]
    ]
    sql = next(view.sql for view in views() if view.name == f"{SCHEMA}.{content['table_name']}")
    return {**content, "columns": columns, **({"sql": sql} if virtual else {})}


def _dumped(content: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(content))  # without the line numbers that were read with it
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
