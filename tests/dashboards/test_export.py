"""An export from Superset changes only the files of objects that were changed in the browser."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dashboards.assets import Assets
from dashboards.export import files_from
from lakehouse.errors import ComplaintsError
from streaming.tables import TABLES


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets()


def exported(assets: Assets, change: Callable[[str, dict[str, Any]], None] = lambda *_: None) -> dict[str, str]:
    """Return an export as Superset writes it, with other ids, order and keys, and then a change."""
    texts = {}
    imported = {path: text for path, text in assets.for_import(TABLES, None).items() if path != "metadata.yaml"}
    for number, (path, text) in enumerate(imported.items()):
        content = yaml.safe_load(text)
        if path.startswith("charts/"):
            content["params"] |= {"datasource": f"{number}__table", "annotation_layers": []}
        if path.startswith("datasets/"):
            random.Random(1).shuffle(content["columns"])
            random.Random(1).shuffle(content["metrics"])
            for column in content["columns"]:
                column |= {"python_date_format": None, "extra": None}
        if path.startswith("dashboards/"):
            content["theme_uuid"] = None
            for place in content["position"].values():
                if isinstance(place, dict) and place.get("type") == "CHART":
                    place["meta"]["chartId"] += 1000
        change(path, content)
        texts[f"{path.removesuffix('.yaml')}_{number}.yaml"] = yaml.safe_dump(content)
    return texts


def changed(assets: Assets, texts: dict[str, str]) -> dict[str, str]:
    """Return the files that an export would change, with their new text."""
    files = files_from(assets, TABLES, texts)
    return {
        path.relative_to(assets.folder).as_posix(): text
        for path, text in files.items()
        if not path.is_file() or path.read_text() != text
    }


def test_unchanged_files_are_exported_byte_for_byte(assets: Assets) -> None:
    assert changed(assets, exported(assets)) == {}


def test_a_changed_chart_changes_one_line_of_its_file(assets: Assets) -> None:
    def change(path: str, content: dict[str, Any]) -> None:
        if path == "charts/relief-rate.yaml":
            content["params"]["y_axis_format"] = ".3%"

    ((path, text),) = changed(assets, exported(assets, change)).items()
    before = (assets.folder / path).read_text().splitlines()
    assert path == "charts/relief-rate.yaml"
    assert [line for line in text.splitlines() if line not in before] == ["  y_axis_format: .3%"]


def test_a_new_column_description_is_exported_and_those_of_the_catalog_are_not(assets: Assets) -> None:
    def change(path: str, content: dict[str, Any]) -> None:
        if path == "datasets/lakehouse/minutes.yaml":
            next(c for c in content["columns"] if c["column_name"] == "high")["description"] = "Of these, high."

    ((path, text),) = changed(assets, exported(assets, change)).items()
    before = (assets.folder / path).read_text().splitlines()
    assert [line for line in text.splitlines() if line not in before] == ["  description: Of these, high."]


def test_a_new_chart_gets_a_file_named_after_it(assets: Assets) -> None:
    texts = exported(assets)
    chart = yaml.safe_load((assets.folder / "charts/relief-rate.yaml").read_text())
    chart |= {"slice_name": "My own: rate", "uuid": "0b0f4d0e-8a55-4b0f-9f5e-0123456789ab"}
    texts["charts/My_own_rate_99.yaml"] = yaml.safe_dump(chart)
    (path,) = changed(assets, texts)
    assert path == "charts/my-own-rate.yaml"


@pytest.mark.parametrize("place", ["../charts", "charts/../..", "/charts", "charts/a/../../..", "elsewhere", ""])
def test_nothing_is_written_outside_the_assets(assets: Assets, place: str) -> None:
    chart = yaml.safe_load((assets.folder / "charts/relief-rate.yaml").read_text())
    chart |= {"uuid": "0b0f4d0e-8a55-4b0f-9f5e-0123456789ab"}
    with pytest.raises(ComplaintsError, match="nothing is written"):
        files_from(assets, TABLES, {f"{place}/mine.yaml": yaml.safe_dump(chart)})


def test_a_wider_chart_changes_one_line(assets: Assets) -> None:
    def change(path: str, content: dict[str, Any]) -> None:
        if path == "dashboards/system-health.yaml":
            content["position"]["CHART-lag-by-minute"]["meta"]["width"] = 5

    ((path, text),) = changed(assets, exported(assets, change)).items()
    before = (assets.folder / path).read_text().splitlines()
    assert len(text.splitlines()) == len(before)
    assert sum(a != b for a, b in zip(text.splitlines(), before, strict=True)) == 1
