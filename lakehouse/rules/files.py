"""Rule files: YAML parsed with line numbers, validated against a model, refused by file, line and key.

Rule files are written by domain experts, not by programmers. Every mistake is therefore found at startup and reported
in one sentence: file, line, rule, key, what was found, what is expected.
"""

import difflib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lakehouse.errors import ComplaintsError

Model = TypeVar("Model", bound="Rule")


class Entry(dict[str, Any]):
    """A mapping of a YAML file with the line numbers of the mapping and its keys."""

    line: int
    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    """YAML's safe loader; mappings become `Entry`, and duplicate keys are refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ARG002, FBT001, FBT002
        entry = Entry()
        entry.line = node.start_mark.line + 1
        entry.lines = {}
        for key_node, value_node in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in entry:
                problem = f"the key '{key}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            entry[key] = self.construct_object(value_node, deep=True)
            entry.lines[key] = key_node.start_mark.line + 1
        return entry  # type: ignore[return-value]

    def construct_text(self, node: yaml.ScalarNode) -> str:
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)
# Dates stay text until the model parses them: YAML's own error about 2026-13-41 has no line number.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_text)


class Rule(BaseModel):
    """One rule of a file; unknown and missing keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str


@dataclass(frozen=True)
class RuleFile:
    """A rule file as it was read.

    Attributes:
        name: folder and file name, for errors.
        content: the file's mapping.
    """

    name: str
    content: Entry

    def refuse(self, found: str, *, line: int, rule: str | None = None, key: str | None = None) -> NoReturn:
        """Refuse the file for what was found, e.g. ``conf/decisions.yaml:42, rule 'rege_error', when: …``.

        Raises:
            ComplaintsError: always.
        """
        where = [f"{self.name}:{line}", *([f"rule '{rule}'"] if rule else []), *([key] if key else [])]
        msg = f"{', '.join(where)}: {found}."
        raise ComplaintsError(msg)

    def section(self, key: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:  # noqa: ANN401
        """Return the value of a top-level key.

        Raises:
            ComplaintsError: the key is missing, or its value is not of the given type (`list` or `dict`).
        """
        if key not in self.content:
            self.refuse(f"the key '{key}' is missing", line=self.content.line)
        value = self.content[key]
        if not isinstance(value, kind):
            words = "a list" if kind is list else "keys and values"
            self.refuse(f"should hold {words}", line=self.content.lines[key], key=key)
        return value

    def only(self, *known: str) -> None:
        """Refuse top-level keys other than these."""
        for key, line in self.content.lines.items():
            if key not in known:
                self.refuse(f"unknown key '{key}'{_allowed(key, known)}", line=line)

    def rules(self, key: str, model: type[Model]) -> tuple[tuple[Entry, Model], ...]:
        """Return the rules of a section in order, each with its place in the file.

        Raises:
            ComplaintsError: an entry isn't a rule, has an unknown key, a missing or invalid value, or a duplicate id.
        """
        rules: dict[str, tuple[Entry, Model]] = {}
        for position, entry in enumerate(self.section(key, list), start=1):
            if not isinstance(entry, Entry):
                self.refuse(f"entry {position} is not a rule with keys", line=self.content.lines[key], key=key)
            try:
                rule = model.model_validate(entry)
            except ValidationError as error:
                _refuse_entry(self, model, entry, error.errors()[0])
            if rule.id in rules:
                first = rules[rule.id][0].line
                self.refuse(f"the id is taken by the rule on line {first}", line=entry.line, rule=rule.id)
            rules[rule.id] = entry, rule
        return tuple(rules.values())


def read_rules(path: Path) -> RuleFile:
    """Read a rule file.

    Raises:
        ComplaintsError: the file can't be read, isn't YAML, has a duplicate key, or isn't a mapping.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        msg = f"{name}:{mark.line + 1}" if mark else name
        msg += f" can't be read as YAML: {getattr(error, 'problem', None) or error}."
        raise ComplaintsError(msg) from error
    if not isinstance(content, Entry):
        msg = f"{name} must hold keys and values, but holds {type(content).__name__}."
        raise ComplaintsError(msg)
    return RuleFile(name, content)


def _refuse_entry(file: RuleFile, model: type[BaseModel], entry: Entry, error: Mapping[str, Any]) -> NoReturn:
    line, allowed = _locate(entry, error["loc"], model)
    key = ".".join(str(part) for part in error["loc"])
    rule = str(entry["id"]) if "id" in entry else None
    if error["type"] == "extra_forbidden":
        file.refuse(f"unknown key '{key}'{_allowed(str(error['loc'][-1]), allowed)}", line=line, rule=rule)
    if error["type"] == "missing":
        file.refuse(f"the key '{key}' is missing", line=line, rule=rule)
    if not key:  # a check that involves several keys
        file.refuse(error["msg"].removeprefix("Value error, "), line=line, rule=rule)
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    file.refuse(f"{error['input']!r} {message}", line=line, rule=rule, key=key)


def _allowed(key: str, known: Iterable[str]) -> str:
    return f"{near(key, known)}; allowed are {', '.join(known)}"


def near(word: str, known: Iterable[str]) -> str:
    """A hint with the known word that was probably meant; empty if none is close."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _locate(entry: Entry, loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[int, tuple[str, ...]]:
    """The line of a key in an entry or in a nested mapping, and the keys that are allowed there."""
    line, allowed, here = entry.line, tuple(model.model_fields), entry
    for part in loc:
        line = here.lines.get(str(part), line)
        inner = here.get(str(part))
        if not isinstance(inner, Entry):
            break
        field = model.model_fields[str(part)].annotation
        models = [field, *getattr(field, "__args__", ())]
        allowed = tuple(next(m for m in models if hasattr(m, "model_fields")).model_fields)
        here = inner
    return line, allowed
