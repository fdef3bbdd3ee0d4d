"""Read what the registry stores about the model's versions: aliases, metrics, cards, parameters.

Locally the registry is SQLite and files in the lake's folder; on Databricks it is in Unity Catalog.
"""

import logging
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.data.learned import Learned, Record, SplitRule
from ml.data.reference import Reference
from ml.registry.artifact import REMEDY
from ml.registry.availability import asking

CHAMPION = "champion"
CHALLENGER = "challenger"
REFERENCE = "reference.json"
LEARNED = "learned.json"  # `ml.data.learned.Learned`
MISSING = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)  # MLflow's error codes for a model, version, alias or run that doesn't exist

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@dataclass(frozen=True)
class Version:
    """A version in the registry, with its training metrics and its card."""

    number: str
    aliases: tuple[str, ...]
    made_at: datetime
    metrics: dict[str, float]
    card: str


@dataclass(frozen=True)
class Run:
    """Metrics and parameters that a training logged."""

    metrics: dict[str, float]
    parameters: dict[str, str]


def _log_as_others_do() -> None:
    """Keep MLflow off the terminal: its loggers write to the root logger, and what it prints is logged too.

    Its own switch does not last: MLflow turns it on again when it saves a model.
    """
    MLFLOW_LOGGING_STREAM.write = _logged  # type: ignore[method-assign]
    for name in ("mlflow", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET if name == "mlflow" else logging.WARNING)


def _logged(text: str) -> None:
    if text.strip():
        logging.getLogger("mlflow").info(text.strip())


class VersionReader:
    """Read access to the project's registered model.

    Raises (each method):
        UnreachableError: if the registry is locked by another process, broken, or does not respond.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_file = settings.platform.has_registry_file
        _log_as_others_do()
        if self._has_file:  # otherwise MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI locate it
            self._set_uris()
        schema = "" if self._has_file else f"{settings.lake.catalog}.{settings.lake.schemas.ml}."
        self.name = f"{schema}{settings.ml.model}"

    @property
    def _folder(self) -> Path:
        return self._settings.folder / "mlflow"

    @property
    def _dfs_tmp(self) -> str | None:
        """The folder that a model's files pass through."""
        return str(self._folder / "tmp") if self._has_file else os.environ.get("MLFLOW_DFS_TMP")

    def _set_uris(self) -> None:
        """Make MLflow use this lake's registry: its URIs are the process's, and another lake may have set them."""
        uri = f"sqlite:///{self._folder / 'mlflow.db'}"
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)  # or MLFLOW_REGISTRY_URI would locate the models elsewhere

    @property
    def _is_new(self) -> bool:
        """Whether nothing was registered yet: then reading must not create the registry."""
        return self._has_file and not (self._folder / "mlflow.db").exists()

    def _access(self, *, writing: bool = False) -> AbstractContextManager[None]:
        if not self._has_file:
            return asking(self.name, None, writing=writing)
        if writing:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._set_uris()
        return asking(self.name, self._folder / "mlflow.db", writing=writing)

    def _label(self, version: str) -> str:
        return f"Version {version} of the model '{self.name}'"

    def refuse_locked(self) -> None:
        """Refuse a registry that can't be written now, and create it if needed; called before long work."""
        with self._access(writing=True):
            MlflowClient().search_model_versions(f"name='{self.name}'")

    def champion_version(self) -> str:
        """Return the version with the champion alias.

        Raises:
            ComplaintsError: if there is none; says which command creates one.
        """
        version = self.version_of(CHAMPION)
        if version is None:
            msg = (
                f"The registry has no champion of the model '{self.name}': run `complaints train` first "
                "(it needs complaints with outcomes: `complaints load`)."
            )
            raise ComplaintsError(msg)
        return version

    def version_of(self, alias: str) -> str | None:
        """Return the version with an alias, or None."""
        if self._is_new:
            return None
        with self._access():
            try:
                return str(MlflowClient().get_model_version_by_alias(self.name, alias).version)
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise

    def versions(self) -> list[Version]:
        """List all versions, latest first; a version whose run was deleted has no metrics."""
        if self._is_new:
            self.champion_version()  # raises, and says what to do
        with self._access():
            found = MlflowClient().search_model_versions(f"name='{self.name}'")
        if not found:
            self.champion_version()
        aliases: dict[str, list[str]] = {}
        with self._access():
            named = MlflowClient().get_registered_model(self.name).aliases
        for alias, version in named.items():
            aliases.setdefault(str(version), []).append(alias)
        return [
            Version(
                str(one.version),
                tuple(sorted(aliases.get(str(one.version), []))),
                datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
                self._run(str(one.run_id or "")).metrics,
                str(one.description or ""),
            )
            for one in sorted(found, key=lambda one: -int(one.version))
        ]

    def version(self, name: str) -> Version:
        """Return one version, by number or alias.

        Raises:
            ComplaintsError: if there is no such version; names the existing ones.
        """
        versions = self.versions()
        found = {one.number: one for one in versions}
        known = {**found, **{alias: one for one in versions for alias in one.aliases}}
        if name not in known:
            msg = f"The model '{self.name}' has no version {name}; it has {', '.join(sorted(found, key=int))}."
            raise ComplaintsError(msg)
        return known[name]

    def _run(self, run_id: str) -> Run:
        """Return what was logged in a run; empty if the run was deleted."""
        with self._access():
            try:
                data = MlflowClient().get_run(run_id).data
            except MlflowException as error:
                if error.error_code in MISSING:
                    return Run({}, {})
                raise
        return Run(dict(data.metrics), dict(data.params))

    def _run_id(self, version: str) -> str:
        with self._access():
            try:
                return str(MlflowClient().get_model_version(self.name, version).run_id or "")
            except MlflowException as error:
                if error.error_code not in MISSING:
                    raise
        self.version(version)  # raises, and names the existing versions
        return ""

    def parameters(self, version: str) -> dict[str, str]:
        """Return the parameters that a version's training logged; empty if its run was deleted."""
        return self._run(self._run_id(version)).parameters

    def record(self, version: str) -> Record:
        """Return the record of what a version learned from.

        Raises:
            ComplaintsError: if its run has none: an older version of this project made it, or the run was deleted.
        """
        if stored := self._artifact_of_run(version, LEARNED):
            return Learned.from_json(stored)
        parameters = self.parameters(version)
        if "rule" not in parameters:  # versions made before there was `LEARNED`
            msg = (
                f"{self._label(version)} has no record of what it learned from: it was made by an earlier version of "
                "this project, or its run is gone. Train again with `complaints train`."
            )
            raise ComplaintsError(msg)
        return SplitRule.from_json(parameters["rule"])

    def reference(self, version: str) -> Reference:
        """Return the reference distributions of a version's training data.

        Raises:
            ComplaintsError: if its run has none.
        """
        stored = self._artifact_of_run(version, REFERENCE)
        if stored is None:
            msg = f"{self._label(version)} has no reference distributions of its training data: {REMEDY}."
            raise ComplaintsError(msg)
        return Reference(tuple(stored["edges"]), stored["shares"])

    def _artifact_of_run(self, version: str, name: str) -> dict[str, Any] | None:
        """Read a JSON artifact of the run that produced a version; None if it is missing or unreadable."""
        run_id = self._run_id(version)
        try:
            return dict(mlflow.artifacts.load_dict(f"runs:/{run_id}/{name}"))
        except (MlflowException, OSError):
            return None
