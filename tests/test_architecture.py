"""How the code is cut: imports point one way, modules and functions stay small, and what is public says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

# Each package with the packages that it may know, besides itself.
KNOWS = {
    "lakehouse": set[str](),
    "bronze": {"lakehouse"},
    "silver": {"lakehouse"},
    "gold": {"lakehouse"},
    "ml": {"lakehouse", "silver"},
    "streaming": {"lakehouse", "bronze", "silver", "gold", "ml"},
    "dashboards": {"lakehouse"},
    "lakehouse/cli": {"lakehouse", "bronze", "silver", "gold", "ml", "streaming", "dashboards"},
}
PACKAGES = {name for name in KNOWS if "/" not in name}
MODULE_LINES = 300
FUNCTION_LINES = 40  # from its name to its end

MODULES = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), named(path))


def package(path: Path) -> str:
    return "lakehouse/cli" if named(path).startswith("lakehouse/cli/") else named(path).split("/")[0]


def imported(module: ast.Module) -> Iterator[str]:
    """Top-level packages that a module imports, wherever in it; conditional ones and those inside functions too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            yield (node.module or "").split(".")[0]


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public classes and functions of a module, with the public methods of those classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def is_overload_of_a_library(path: Path, name: str) -> bool:
    """Methods whose contract a library documents, in classes that only plug into it."""
    return (named(path), name) == ("lakehouse/settings.py", "get_field_value")


def test_there_is_something_to_look_at() -> None:
    assert {package(path) for path in MODULES} == set(KNOWS)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    here = package(path)
    known = set(imported(tree(path))) & PACKAGES
    assert known <= KNOWS[here] | {here.split("/")[0]}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_shorter_than_300_lines_and_a_function_than_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < MODULE_LINES
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 - described(node) for node in functions(tree(path))}
    assert {name: lines for name, lines in lengths.items() if lines >= FUNCTION_LINES} == {}


def described(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's docstring, which may be as long as it needs."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    return (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_and_all_that_is_public_in_them_say_what_they_are(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module)
    silent = [node.name for node in public(module.body) if not ast.get_docstring(node)]
    assert [name for name in silent if not is_overload_of_a_library(path, name)] == []
