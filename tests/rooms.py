"""The rooms of the project and their allowed imports; run as a module it draws docs/architecture.md.

A room is a folder of modules. `KNOWS` lists the rooms that its modules may import from. No two rooms import each
other, directly or through others, and `test_architecture` checks every import.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by `make docs` from the imports -->", "<!-- end of what is drawn -->"

_LAKEHOUSE = {"lakehouse", "lakehouse/spark", "lakehouse/sql", "lakehouse/tables"}
_LAYERS = {"bronze", "silver", "gold"}
_MODEL = {"ml/features", "ml/scoring", "ml/data", "ml/registry"}
_STREAM = {"streaming", "streaming/kafka", "streaming/queries", "streaming/batch"}

KNOWS: dict[str, set[str]] = {
    "lakehouse": set(),
    "lakehouse/guard": set(),
    "lakehouse/setup": {"lakehouse"},
    "lakehouse/spark": {"lakehouse", "lakehouse/setup"},
    "lakehouse/rules": {"lakehouse", "lakehouse/spark"},
    "lakehouse/tables": {"lakehouse", "lakehouse/spark"},
    "lakehouse/sql": {"lakehouse", "lakehouse/guard", "lakehouse/tables"},
    "bronze": {"lakehouse", "lakehouse/tables"},
    "silver": {"lakehouse", "lakehouse/rules", "lakehouse/tables"},
    "gold": {"lakehouse", "lakehouse/rules", "lakehouse/tables"},
    "ml": set(),
    "ml/features": {"lakehouse", "lakehouse/setup", "silver", "ml"},
    "ml/scoring": {"lakehouse", "silver", "ml/features"},
    "ml/data": {"lakehouse", "lakehouse/tables", "silver", "ml", "ml/features"},
    "ml/registry": {"lakehouse", "ml/features", "ml/scoring", "ml/data"},
    "ml/evaluation": {"lakehouse", "lakehouse/tables", "silver", "ml", *_MODEL},
    "ml/training": {"lakehouse", "lakehouse/setup", "lakehouse/tables", "ml", "ml/evaluation", *_MODEL},
    "streaming": {"lakehouse", "lakehouse/tables", *_LAYERS},
    "streaming/kafka": {"lakehouse", "lakehouse/setup", "lakehouse/tables", "bronze", "silver"},
    "streaming/queries": {*_LAKEHOUSE, *_LAYERS, "ml/scoring", "streaming/kafka"},
    "streaming/batch": {*_LAKEHOUSE, *_LAYERS, *_MODEL, "streaming", "streaming/kafka", "streaming/queries"},
    "streaming/service": {*_LAKEHOUSE, "gold", *_MODEL, *_STREAM},
    "streaming/runs": {*_LAKEHOUSE, *_LAYERS, "streaming/service", *_STREAM},
    "monitoring": {
        *_LAKEHOUSE,
        "lakehouse/rules",
        "silver",
        "gold",
        "streaming",
        "streaming/kafka",
        "streaming/queries",
    },
    "stewardship": {*_LAKEHOUSE, "lakehouse/rules", *_LAYERS, *_MODEL, *_STREAM},
    "stewardship/verification": {*_LAKEHOUSE, *_LAYERS, "streaming/kafka", "streaming/queries"},
    "dashboards": {"gold", "lakehouse", "lakehouse/rules", "lakehouse/setup", "lakehouse/sql", "lakehouse/tables"},
    "dashboards/server": set(),  # runs in Superset's own environment
    "deployment": {"lakehouse"},
    "benchmarks": {
        *(*_LAKEHOUSE, "lakehouse/guard", "lakehouse/setup", *_LAYERS, "ml/registry", "ml/scoring"),
        *(*_STREAM, "streaming/service", "streaming/runs"),
        *("dashboards", "dashboards/server"),
    },
}
KNOWS["complaints"] = set(KNOWS)
PACKAGES = list(dict.fromkeys(room.split("/")[0] for room in KNOWS))
MODULES = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))


def named(path: Path) -> str:
    """Return a module's path relative to the project's root."""
    return path.relative_to(PROJECT).as_posix()


def room_of(path: Path) -> str:
    """Return the room of a module."""
    return named(path.parent)


def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), named(path))


def imported(module: ast.Module) -> Iterator[str]:
    """Yield the rooms that a module imports from, including conditional imports and those in functions."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (_room(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            yield from (_room(f"{node.module}.{alias.name}") for alias in node.names)


def _room(name: str) -> str:
    """Return the innermost room of a dotted name, or its first part if it is not of this project."""
    parts = name.split(".")
    rooms = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((room for room in rooms if room in KNOWS), parts[0])


def imports() -> dict[str, set[str]]:
    """Return, for each room, the other rooms that its modules import from."""
    found: dict[str, set[str]] = {room: set() for room in KNOWS}
    for path in MODULES:
        found[room_of(path)] |= set(imported(tree(path))) & KNOWS.keys() - {room_of(path)}
    return found


def reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Return all nodes that can be reached from a node by one or more arrows."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def without_shortcuts(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the graph without the arrows that a longer path implies."""
    return {
        node: {to for to in known if not any(to in reached(graph, other) for other in known - {to})}
        for node, known in graph.items()
    }


def _by_package(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    packages: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for room, known in graph.items():
        package = room.split("/")[0]
        packages[package] |= {other.split("/")[0] for other in known} - {package}
    return packages


def _mermaid(graph: Mapping[str, set[str]]) -> str:
    ids = {node: node.replace("/", "_") for node in graph}
    nodes = [f'    {ids[node]}["{node}/"]' for node in graph]
    arrows = [
        f"    {ids[node]} --> {ids[to]}" for node, known in without_shortcuts(graph).items() for to in sorted(known)
    ]
    return "\n".join(["```mermaid", "flowchart TD", *nodes, *arrows, "```"])


def drawn() -> str:
    """Return the diagrams: of the packages, and of the rooms of packages with more than two."""
    graph = imports()
    parts = ["An arrow means *imports*; arrows that a longer path implies are left out.", _mermaid(_by_package(graph))]
    for package in PACKAGES:
        rooms = [room for room in graph if room.split("/")[0] == package]
        if len(rooms) > 2:
            inside = {room: graph[room] & set(rooms) for room in rooms}
            parts += [f"The rooms of `{package}/`:", _mermaid(inside)]
    return "\n\n".join(parts)


def page(text: str) -> str:
    """Return the page with its diagrams drawn again."""
    before, after = text.split(BEGIN, 1)[0], text.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{drawn()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
