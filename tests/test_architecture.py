"""Imports point one way, modules and functions stay small, and everything public has a docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms import KNOWS, MODULES, PAGE, imported, imports, named, page, reached, room_of, tree

MODULE_LINES = 400
FUNCTION_LINES = 40  # from `def` to its end


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield the public classes and functions of a module, and the public methods of those classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def is_documented_by_a_library(path: Path, name: str) -> bool:
    """Whether a method's contract is documented by the library that calls it."""
    return (named(path), name) == ("lakehouse/settings.py", "get_field_value")


def test_each_room_has_modules_and_each_module_has_a_room() -> None:
    assert {room_of(path) for path in MODULES} == set(KNOWS)


def test_no_room_imports_itself_through_others() -> None:
    assert not {room for room in KNOWS if room in reached(KNOWS, room)}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    others = set(imported(tree(path))) & KNOWS.keys() - {room_of(path)}
    assert others <= KNOWS[room_of(path)]


def test_no_room_is_allowed_more_imports_than_it_needs() -> None:
    actual = imports()
    packages = {room: {other.split("/")[0] for other in known} for room, known in KNOWS.items()}
    needed = {room: {other.split("/")[0] for other in known} for room, known in actual.items()}
    assert {room: packages[room] - needed[room] - {room.split("/")[0]} for room in KNOWS if room != "complaints"} == {
        room: set() for room in KNOWS if room != "complaints"
    }


def test_the_diagrams_match_the_imports() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run `make docs`"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_shorter_than_400_lines_and_a_function_than_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < MODULE_LINES
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node) for node in functions(tree(path))
    }
    assert {name: lines for name, lines in lengths.items() if lines >= FUNCTION_LINES} == {}


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function's docstring, which may have any length."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    return (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_and_everything_public_in_them_have_docstrings(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module)
    undocumented = [node.name for node in public(module.body) if not ast.get_docstring(node)]
    assert [name for name in undocumented if not is_documented_by_a_library(path, name)] == []
