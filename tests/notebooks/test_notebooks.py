"""The notebooks run from top to bottom in a real kernel, hold no logic, and include their charts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from lakehouse.settings import Settings
from notebooks.run import executed, notebooks
from tests.conftest import copied
from tests.rooms import PACKAGES

MAX_BYTES = 500_000
NAMES = ("1-data-preparation", "2-pipeline-development", "3-model-development")
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.IfExp, ast.Try,
    ast.With, ast.Match, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


def cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def charts(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in cells(notebook) for output in cell.outputs)


def nodes(notebook: nbformat.NotebookNode) -> Iterator[ast.AST]:
    """Yield the syntax tree of all code cells, without magic lines."""
    lines = "\n".join(cell.source for cell in cells(notebook)).splitlines()
    return ast.walk(ast.parse("\n".join(line for line in lines if not line.startswith("%"))))


def test_the_list_of_notebooks() -> None:
    assert tuple(path.stem for path in notebooks()) == NAMES


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_only_calls_the_packages_and_is_committed_with_its_charts(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    syntax = list(nodes(notebook))
    assert [type(node).__name__ for node in syntax if isinstance(node, LOGIC)] == []
    imported = {(node.module or "").split(".")[0] for node in syntax if isinstance(node, ast.ImportFrom)}
    assert imported & set(PACKAGES)
    assert path.stat().st_size < MAX_BYTES
    assert charts(notebook) > 0
    assert [cell.execution_count for cell in cells(notebook)] == list(range(1, len(cells(notebook)) + 1))
    assert {output.output_type for cell in cells(notebook) for output in cell.outputs} <= {
        "display_data", "execute_result", "stream",
    }  # fmt: skip


@pytest.mark.notebooks
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, trained_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPLAINTS_ROOT", str(copied(trained_lake, tmp_path / "lake").folder))
    committed, now = nbformat.read(path, as_version=4), executed(path)
    assert [cell.source for cell in now.cells] == [cell.source for cell in committed.cells]
    assert charts(now) == charts(committed)
