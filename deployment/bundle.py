"""What `databricks.yml` declares for one target, with variables given as the CLI takes them: ``BUNDLE_VAR_…``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lakehouse.errors import ComplaintsError

FILE = "databricks.yml"


@dataclass(frozen=True)
class Bundle:
    """One target of the bundle.

    Attributes:
        folder: where databricks.yml is.
        target: the target's name.
        variables: every variable's value; None where none was given.
        is_development: whether the target is a developer's own.
    """

    folder: Path
    target: str
    variables: Mapping[str, str | None]
    is_development: bool

    def value(self, name: str) -> str:
        """A variable's value.

        Raises:
            ComplaintsError: it has none; says how to give it one.
        """
        value = self.variables.get(name)
        if value is None:
            msg = (
                f"The target {self.target} needs a value for the bundle's variable {name}: "
                f"set BUNDLE_VAR_{name}, or pass --var={name}=… to the CLI."
            )
            raise ComplaintsError(msg)
        return value

    @property
    def missing(self) -> list[str]:
        """Variables without a value."""
        return [name for name, value in self.variables.items() if value is None]

    def root_path(self, user: str) -> str:
        """The workspace's folder that a deployment of this target lies in, when the given user deploys it."""
        owner = user if self.is_development else self.value("service_principal")
        return f"/Workspace/Users/{owner}/.bundle/complaints/{self.target}"


def read_bundle(folder: Path, target: str | None) -> Bundle:
    """The bundle of a folder for a target, or for its default target.

    Raises:
        ComplaintsError: no bundle there, or no such target; says which there are.
    """
    declared = _read(folder / FILE)
    targets: dict[str, dict[str, Any]] = declared["targets"]
    target = target or next(name for name, given in targets.items() if given.get("default"))
    if target not in targets:
        msg = f"{FILE} has no target '{target}': choose one of {', '.join(targets)}."
        raise ComplaintsError(msg)
    defaults = {name: variable.get("default") for name, variable in declared["variables"].items()}
    given = {name: os.environ[f"BUNDLE_VAR_{name}"] for name in defaults if f"BUNDLE_VAR_{name}" in os.environ}
    variables = {**defaults, **targets[target].get("variables", {}), **given}
    return Bundle(folder, target, variables, targets[target].get("mode") == "development")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        msg = f"There is no {FILE} in {path.parent.resolve()}: name the project's folder with --bundle."
        raise ComplaintsError(msg)
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        msg = f"{FILE}:{mark.line + 1 if mark else 1} can't be read as YAML: {getattr(error, 'problem', error)}."
        raise ComplaintsError(msg) from error
    return content


def resolved(text: str, user: str) -> str:
    """A value with the references to the current user that variables may hold."""
    short = re.sub(r"[^a-z0-9]", "_", user.partition("@")[0].lower())
    return text.replace("${workspace.current_user.userName}", user).replace(
        "${workspace.current_user.short_name}", short
    )
