"""Writes changes made in the browser back to the files, in the files' own order, and changes nothing else.

Superset exports ids that differ between installations, columns in any order, and many empty values. A file that nobody
changed comes back byte for byte.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dashboards.assets import Asset, Assets
from lakehouse.errors import ComplaintsError
from lakehouse.tables.declaration import Table

NAMES = ("column_name", "metric_name", "id")  # what identifies the entries of a list
# Internal to Superset: ids of this installation, and defaults that it fills in.
OWN = frozenset({"datasource", "theme_uuid", "configuration_method", "slice_id", "dashboards", "timestamp"})
TITLES = {"charts": "slice_name", "dashboards": "slug", "datasets": "table_name", "databases": "database_name"}


class _Dumper(yaml.SafeDumper):
    """Writes multi-line text as block scalars."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def dumped(content: Mapping[str, Any]) -> str:
    """Content as YAML in the style of the files."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def files_from(assets: Assets, tables: Iterable[Table], exported: Mapping[str, str]) -> dict[Path, str]:
    """The files' text after an export.

    Args:
        assets: the current files.
        tables: the catalog, whose comments were used for columns without a description.
        exported: text by path, as Superset exports it.

    Returns:
        The text of each exported file by its path in `assets/`; a new file is named after its title.

    Raises:
        ComplaintsError: a new file would be written outside `assets/`.
    """
    imported = {path: yaml.safe_load(text) for path, text in assets.for_import(tables, None).items()}
    contents = [(path, yaml.safe_load(text)) for path, text in exported.items() if path != "metadata.yaml"]
    files = {}
    for path, content in contents:
        known = assets.by_uuid.get(content["uuid"])
        if known is None:
            files[assets.folder / _new_path(path, content)] = dumped(_without_own(content))
            continue
        if known.kind == "databases":
            continue  # its URL is a setting, not part of a dashboard
        numbered = _renumbered(known, content) if known.kind == "dashboards" else content
        before = yaml.safe_load((assets.folder / known.path).read_text(encoding="utf-8"))
        files[assets.folder / known.path] = dumped(_merged(before, numbered, imported[known.path]))
    return files


def _new_path(path: str, content: Mapping[str, Any]) -> Path:
    """The path of a new file: the folder that it is exported in, which must stay within `assets/`."""
    folder = PurePosixPath(path).parent
    kind = folder.parts[0] if folder.parts else ""
    if kind not in TITLES or any(not re.fullmatch(r"\w[\w -]*", part) for part in folder.parts):
        msg = f"Superset exports {path!r}, which is no place below dashboards/assets: nothing is written."
        raise ComplaintsError(msg)
    name = re.sub(r"[^a-z0-9]+", "-", str(content[TITLES[kind]]).lower()).strip("-")
    return Path(folder, f"{name}.yaml")


def _without_own(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without_own(below) for key, below in value.items() if key not in OWN and not _is_empty(below)}
    return value


def _is_empty(value: object) -> bool:
    return value in (None, [], {}, "", 0, False)


def _merged(ours: Any, exported: Any, imported: Any) -> Any:  # noqa: ANN401
    """The new content of a file: the export in the file's order; what equals the import stays as it was."""
    if exported == imported:
        return ours
    if isinstance(ours, dict) and isinstance(exported, dict):
        given = imported if isinstance(imported, dict) else {}
        kept = {key: _merged(ours[key], exported[key], given.get(key)) for key in ours if key in exported}
        new = {key: value for key, value in exported.items() if key not in ours and key not in OWN}
        return kept | {key: _without_own(value) for key, value in new.items() if not _is_empty(value)}
    if isinstance(ours, list) and isinstance(exported, list):
        return list(_merged_list(ours, exported, imported if isinstance(imported, list) else []))
    return exported


def _merged_list(ours: list[Any], exported: list[Any], imported: list[Any]) -> Iterator[Any]:
    name = next((n for n in NAMES if exported and all(isinstance(e, dict) and n in e for e in exported)), None)
    if name is None:
        yield from exported
        return
    there = {entry[name]: entry for entry in exported}
    given = {entry[name]: entry for entry in imported}
    known = [entry[name] for entry in ours]
    yield from (_merged(entry, there[entry[name]], given.get(entry[name])) for entry in ours if entry[name] in there)
    yield from (_without_own(entry) for key, entry in there.items() if key not in known)


def _renumbered(known: Asset, content: dict[str, Any]) -> dict[str, Any]:
    """The dashboard with the files' chart ids instead of this installation's."""
    ours = _numbers(known.content["position"])
    theirs = _numbers(content["position"])
    free = iter(range(max(ours.values(), default=0) + 1, 10_000))
    number = {theirs[uuid]: ours.get(uuid) or next(free) for uuid in theirs}
    for place in content["position"].values():
        if isinstance(place, dict) and place.get("type") == "CHART":
            place["meta"]["chartId"] = number[place["meta"]["chartId"]]
    metadata = content["metadata"]
    metadata["chart_configuration"] = {
        str(number[int(key)]): {**value, "id": number[int(key)]}
        for key, value in metadata.get("chart_configuration", {}).items()
        if int(key) in number
    }
    for scope in _scopes(metadata):
        scope["excluded"] = [number[chart] for chart in scope.get("excluded", []) if chart in number]
    for holder in (*_holders(metadata),):
        holder["chartsInScope"] = []
    return content


def _numbers(position: Mapping[str, Any]) -> dict[str, int]:
    places = (place for place in position.values() if isinstance(place, dict) and place.get("type") == "CHART")
    return {place["meta"]["uuid"]: place["meta"]["chartId"] for place in places}


def _holders(metadata: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts that list the charts in their scope: Superset computes these lists again from the scope."""
    if "chartsInScope" in metadata.get("global_chart_configuration", {}):
        yield metadata["global_chart_configuration"]
    yield from (native for native in metadata.get("native_filter_configuration", []) if "chartsInScope" in native)


def _scopes(metadata: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "scope" in metadata.get("global_chart_configuration", {}):
        yield metadata["global_chart_configuration"]["scope"]
    for native in metadata.get("native_filter_configuration", []):
        yield native["scope"]
    for chart in metadata.get("chart_configuration", {}).values():
        if isinstance(chart.get("crossFilters", {}).get("scope"), dict):
            yield chart["crossFilters"]["scope"]
