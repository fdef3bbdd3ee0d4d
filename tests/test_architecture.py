"""How the code is cut: imports point one way, modules and functions stay small, and what is public says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms import KNOWS, MODULES, PAGE, imported, imports, named, page, reached, room_of, tree

MODULE_LINES = 400
FUNCTION_LINES = 40  # from its name to its end


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


def test_each_room_has_modules_and_each_module_a_room() -> None:
    assert {room_of(path) for path in MODULES} == set(KNOWS)


def test_no_room_knows_itself_by_a_roundabout_way() -> None:
    assert not {room for room in KNOWS if room in reached(KNOWS, room)}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    others = set(imported(tree(path))) & KNOWS.keys() - {room_of(path)}
    assert others <= KNOWS[room_of(path)]


def test_no_room_may_know_more_than_it_does() -> None:
    taken = imports()
    packages = {room: {other.split("/")[0] for other in known} for room, known in KNOWS.items()}
    needed = {room: {other.split("/")[0] for other in known} for room, known in taken.items()}
    assert {room: packages[room] - needed[room] - {room.split("/")[0]} for room in KNOWS if room != "complaints"} == {
        room: set() for room in KNOWS if room != "complaints"
    }


def test_the_picture_of_the_rooms_is_that_of_the_imports() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run `make docs`"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_shorter_than_400_lines_and_a_function_than_40(path: Path) -> None:
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
