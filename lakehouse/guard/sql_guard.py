"""Check SQL before DuckDB runs it: only a single SELECT with allowed functions over allowed tables passes.

DuckDB parses the statement and returns its syntax tree as JSON. Every node of the tree must be of a known kind with
known fields (`sql_nodes.yaml`), every function must be allowed (`sql_functions.yaml`), and every table must be allowed
or defined by a WITH in scope. Anything unknown is refused, so features of a newer DuckDB can't slip in.

Superset runs this module in its own Python: it depends on DuckDB and PyYAML, but on nothing from the project.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import yaml

MAX_CHARACTERS = 100_000  # of a statement
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")  # of a WITH: nothing that DuckDB could interpret as a file
TABLE_LISTS = frozenset({"__show_tables_expanded", '"tables"'})  # SHOW ALL TABLES, SHOW TABLES

Node = dict[str, Any]
Names = frozenset[str]


class RefusedError(duckdb.Error):
    """Raised when a statement is not allowed."""


@dataclass(frozen=True)
class Functions:
    """Functions in lower case: those allowed anywhere, those allowed in FROM, and why others are refused."""

    everywhere: Names
    in_from: Names
    refused: Mapping[str, str]


@cache
def declared_functions() -> Functions:
    """The allowed and refused functions from `sql_functions.yaml`."""
    content = _declared("sql_functions.yaml")
    allowed = (name for names in content["allowed"].values() for name in names.split())
    refused = {name: reason for reason, names in content["refused"].items() for name in names.split()}
    in_from = _lower(content["allowed_in_from"].split())
    return Functions(_lower(allowed) | in_from, in_from, refused)


@dataclass(frozen=True)
class Nodes:
    """The fields of each kind of node: expressions by class and type, others by type, untyped ones as they are."""

    expressions: Mapping[tuple[str, str], Names]
    typed: Mapping[str, Names]
    untyped: frozenset[Names]
    value_types: Names
    named_types: Names

    def know(self, node: Node) -> bool:
        """Whether a node is of a known kind and has exactly that kind's fields."""
        class_, type_, fields = node.get("class"), node.get("type"), frozenset(node)
        if isinstance(type_, str):
            known = self.typed.get(type_) if class_ is None else self.expressions.get((class_, type_))
            return fields == known
        return fields in self.untyped


@cache
def declared_nodes() -> Nodes:
    """The known nodes from `sql_nodes.yaml`."""
    content = _declared("sql_nodes.yaml")
    expressions = {
        (class_, type_): frozenset(f"class type alias query_location {each['fields']}".split())
        for class_, each in content["expressions"].items()
        for type_ in each["types"].split()
    }
    sources = {type_: f"type alias sample query_location {fields}" for type_, fields in content["sources"].items()}
    others = {type_: f"type {fields}" for type_, fields in content["others"].items()}
    typed = {type_: frozenset(fields.split()) for type_, fields in (sources | others).items()}
    untyped = frozenset(frozenset(fields.split()) for fields in content["untyped"])
    value_types = frozenset((*content["value_types"].split(), *content["zoned_types"]))
    return Nodes(expressions, typed, untyped, value_types, frozenset(content["named_types"].split()))


def _declared(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return content


class Guard:
    """Allows a SELECT over the given tables and refuses everything else.

    Args:
        tables: the tables that may be read, each as `schema.table`.
        macros: functions that the connection defines itself, each by its signature.
        lists_tables: whether SHOW TABLES is allowed, which lists every table of the connection.
    """

    def __init__(self, tables: Iterable[str], macros: Iterable[str] = (), *, lists_tables: bool = False) -> None:
        self._tables = _lower(tables)
        self._schemas = sorted({name.split(".")[0] for name in self._tables})
        self._functions = declared_functions()
        self._everywhere = self._functions.everywhere | _lower(macro.partition("(")[0] for macro in macros)
        self._lists_tables = lists_tables

    def checked(self, connection: duckdb.DuckDBPyConnection, statement: str) -> duckdb.Statement:
        """Check a statement; return it as DuckDB parsed it, to be executed instead of the text.

        Raises:
            RefusedError: it is not a single SELECT, or uses a table or function that is not allowed; says which.
        """
        try:
            self._walk(_tree(connection, statement), frozenset())
        except RecursionError as error:
            msg = "The statement is nested too deeply."
            raise RefusedError(msg) from error
        parsed = connection.extract_statements(statement)
        if len(parsed) != 1 or parsed[0].type != duckdb.StatementType.SELECT:
            raise _not_one_select()
        return parsed[0]

    def _walk(self, value: object, names: Names) -> None:
        """Check a node and everything below it; `names` are the WITHs in scope."""
        if isinstance(value, list):
            for each in value:
                self._walk(each, names)
        elif isinstance(value, dict):
            _refuse_unknown(value)
            names = self._names_in_query(value, names)
            self._check(value, names)
            for field, below in value.items():
                if field != "cte_map":
                    self._walk(below, self._names_in_field(value, field, names))

    def _names_in_query(self, node: Node, names: Names) -> Names:
        """The names in scope, plus those of the query's own WITHs; each WITH sees those before it."""
        if "cte_map" not in node:
            return names
        _refuse_unknown(node["cte_map"])
        for entry in node["cte_map"]["map"]:
            _refuse_unknown(entry)
            self._walk(entry["value"], names)
            if not NAME.match(entry["key"]):
                msg = f"A WITH can't be named {entry['key']!r} here: use letters, digits and underscores."
                raise RefusedError(msg)
            names |= {_folded(entry["key"])}
        return names

    def _names_in_field(self, node: Node, field: str, names: Names) -> Names:
        is_repeated = node.get("type") == "RECURSIVE_CTE_NODE" and field == "right"
        return names | {_folded(node["cte_name"])} if is_repeated else names

    def _check(self, node: Node, names: Names) -> None:
        match node.get("class"), node.get("type"):
            case None, "BASE_TABLE":
                self._check_table(node, names)
            case None, "TABLE_FUNCTION":
                self._check_called(node["function"], self._functions.in_from)
            case None, "SHOW_REF":
                self._check_shown(node)
            case "FUNCTION" | "WINDOW", _:
                self._check_called(node, self._everywhere)
                _check_offset(node)
            case None, "UNBOUND_TYPE_INFO":
                _check_type(node["name"].upper(), declared_nodes().named_types)
            case None, None if "id" in node:
                _check_type(node["id"], declared_nodes().value_types)
            case _ if node.get("pivot_enum"):
                msg = "PIVOT over a type can't be used here: list the values after IN."
                raise RefusedError(msg)

    def _check_table(self, node: Node, names: Names) -> None:
        catalog, schema, table = (_folded(node[part]) for part in ("catalog_name", "schema_name", "table_name"))
        is_named = not (catalog or schema) and table in names
        if node["at_clause"] is not None or not (is_named or (not catalog and f"{schema}.{table}" in self._tables)):
            shown = ".".join(filter(None, (node["catalog_name"], node["schema_name"], node["table_name"])))
            msg = (
                f"{shown} can't be read here: only tables and views of {' and '.join(self._schemas)} can be, each by "
                "its schema and its name."
            )
            raise RefusedError(msg)

    def _check_called(self, node: Node, allowed: Names) -> None:
        name = _folded(node["function_name"])
        if name not in allowed:
            reasons = (reason for names, reason in self._functions.refused.items() if fnmatchcase(name, names))
            reason = next(reasons, "it is not on the list of those that may be")
            msg = f"The function {name} can't be used here: {reason}."
            raise RefusedError(msg)

    def _check_shown(self, node: Node) -> None:
        if node["query"] is None and not (self._lists_tables and node["table_name"] in TABLE_LISTS):
            msg = "This SHOW can't be used here: SELECT from a table, or DESCRIBE it."
            raise RefusedError(msg)


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> list[Node]:
    if len(statement) > MAX_CHARACTERS:
        msg = f"The statement is longer than {MAX_CHARACTERS:,} characters."
        raise RefusedError(msg)
    row = connection.execute("SELECT json_serialize_sql($statement)", {"statement": statement}).fetchone()
    parsed: Node = json.loads(row[0]) if row else {"error": True}
    if parsed["error"] and parsed.get("error_type") == "parser":
        msg = f"Parser Error: {parsed['error_message']}"
        raise RefusedError(msg)
    if parsed["error"] or len(parsed["statements"]) != 1 or "\0" in statement:  # which ends a string in C
        raise _not_one_select()
    statements: list[Node] = parsed["statements"]
    return statements


def _not_one_select() -> RefusedError:
    return RefusedError("Only one SELECT can be run: the lake is read-only here.")


def _check_type(name: str, allowed: Names) -> None:
    if name not in allowed:
        msg = f"The type {name} can't be used here."
        raise RefusedError(msg)


def _check_offset(node: Node) -> None:
    """Allow only a plain integer as offset: LAG and LEAD with the minimum integer crash the process."""
    offset = node.get("offset_expr")
    if offset and (offset["class"] != "CONSTANT" or offset["value"]["type"]["id"] != "INTEGER"):
        msg = f"The offset of {node['function_name']} can't be used here: write a plain number."
        raise RefusedError(msg)


def _refuse_unknown(node: Node) -> None:
    if not declared_nodes().know(node):
        what = node["type"] if isinstance(node.get("type"), str) else ", ".join(sorted(node))
        msg = f"The statement uses something that is not known to be safe ({what})."
        raise RefusedError(msg)


def _lower(names: Iterable[str]) -> Names:
    return frozenset(_folded(name) for name in names)


def _folded(name: str) -> str:
    """A name as DuckDB compares it: case-insensitive for ASCII only."""
    return name.lower() if name.isascii() else name
