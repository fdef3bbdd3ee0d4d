"""What `databricks.yml` declares for one target; variables can be set with ``BUNDLE_VAR_…``, as for the CLI."""

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
        folder: the folder that contains databricks.yml.
        target: the target's name.
        variables: every variable's value; None for a variable without one.
        is_development: whether the target has ``mode: development``.
    """

    folder: Path
    target: str
    variables: Mapping[str, str | None]
    is_development: bool

    def value(self, name: str) -> str:
        """Return a variable's value.

        Raises:
            ComplaintsError: the variable has no value; the message says how to set one.
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
        """Return the workspace folder of this target's deployment when the given user deploys it."""
        owner = user if self.is_development else self.value("service_principal")
        return f"/Workspace/Users/{owner}/.bundle/complaints/{self.target}"


def read_bundle(folder: Path, target: str | None) -> Bundle:
    """Read the bundle in a folder for a target, or for its default target.

    Raises:
        ComplaintsError: there is no bundle, it can't be read, or it has no such target; the message lists the targets.
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
    """Replace the references to the current user in a variable's value."""
    short = re.sub(r"[^a-z0-9]", "_", user.partition("@")[0].lower())
    return text.replace("${workspace.current_user.userName}", user).replace(
        "${workspace.current_user.short_name}", short
    )
