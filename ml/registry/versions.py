"""What the registry knows of the model's versions: aliases, figures, cards, parameters; read, and never written.

Locally the registry is sqlite and files under the lake's folder; on Databricks it is Unity Catalog's.
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

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.data.reference import Reference
from ml.data.split import Rule
from ml.registry.artifact import REMEDY
from ml.registry.availability import asking

CHAMPION = "champion"
CHALLENGER = "challenger"
REFERENCE = "reference.json"
MISSING = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)  # what MLflow says of a model, version, alias or run that isn't there

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@dataclass(frozen=True)
class Version:
    """A version in the registry, with the metrics of its training and its card."""

    number: str
    aliases: tuple[str, ...]
    made_at: datetime
    metrics: dict[str, float]
    card: str


@dataclass(frozen=True)
class Run:
    """What a training logged."""

    metrics: dict[str, float]
    parameters: dict[str, str]


class VersionReader:
    """What is recorded of the project's registered model.

    Raises (each method):
        UnreachableError: the registry is locked by another process, broken, or does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._on_databricks = settings.lake.catalog is not None
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        if not self._on_databricks:  # there MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI say where it is
            self._folder.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{self._folder / 'mlflow.db'}")
            os.environ.setdefault("MLFLOW_DFS_TMP", str(self._folder / "tmp"))
        schema = f"{settings.lake.catalog}.{settings.lake.schemas.ml}." if self._on_databricks else ""
        self.name = f"{schema}{settings.ml.model}"

    @property
    def _folder(self) -> Path:
        return self._settings.folder / "mlflow"

    def _asking(self, *, writing: bool = False) -> AbstractContextManager[None]:
        return asking(self.name, None if self._on_databricks else self._folder / "mlflow.db", writing=writing)

    def _called(self, version: str) -> str:
        return f"Version {version} of the model '{self.name}'"

    def refuse_locked(self) -> None:
        """Refuse a registry that can't be written now; asked before long work whose result goes there."""
        with self._asking(writing=True):
            pass

    def champion_version(self) -> str:
        """The version that the champion alias names.

        Raises:
            ComplaintsError: there is none; says which command makes one.
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
        """The version that an alias names, or None."""
        with self._asking():
            try:
                return str(MlflowClient().get_model_version_by_alias(self.name, alias).version)
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise

    def versions(self) -> list[Version]:
        """All versions, the latest first; of one whose run is gone the metrics are too."""
        with self._asking():
            found = MlflowClient().search_model_versions(f"name='{self.name}'")
        if not found:
            self.champion_version()  # refuses, and says what to do
        aliases: dict[str, list[str]] = {}
        with self._asking():
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
        """One version, by its number or an alias of it.

        Raises:
            ComplaintsError: there is no such version; names those that there are.
        """
        versions = self.versions()
        found = {one.number: one for one in versions}
        known = {**found, **{alias: one for one in versions for alias in one.aliases}}
        if name not in known:
            msg = f"The model '{self.name}' has no version {name}; it has {', '.join(sorted(found, key=int))}."
            raise ComplaintsError(msg)
        return known[name]

    def _run(self, run_id: str) -> Run:
        """What was logged in a run; of one that is gone nothing."""
        with self._asking():
            try:
                data = MlflowClient().get_run(run_id).data
            except MlflowException as error:
                if error.error_code in MISSING:
                    return Run({}, {})
                raise
        return Run(dict(data.metrics), dict(data.params))

    def _run_id(self, version: str) -> str:
        with self._asking():
            try:
                return str(MlflowClient().get_model_version(self.name, version).run_id or "")
            except MlflowException as error:
                if error.error_code not in MISSING:
                    raise
        self.version(version)  # refuses, and names those that there are
        return ""

    def parameters(self, version: str) -> dict[str, str]:
        """What the training of a version was given and decided, as it was logged; nothing where its run is gone."""
        return self._run(self._run_id(version)).parameters

    def rule(self, version: str) -> Rule:
        """By which rule the complaints of a version's training were parted.

        Raises:
            ComplaintsError: its run keeps none: an earlier version of this project made it, or the run is gone.
        """
        parameters = self.parameters(version)
        if "rule" not in parameters:
            msg = (
                f"{self._called(version)} does not say what it learned from: it was made by an earlier version of "
                "this project, or its run is gone. Train again with `complaints train`."
            )
            raise ComplaintsError(msg)
        return Rule.from_json(parameters["rule"])

    def reference(self, version: str) -> Reference:
        """What a version's complaints looked like in training.

        Raises:
            ComplaintsError: its run does not keep it.
        """
        kept = self._kept(version, REFERENCE)
        if kept is None:
            msg = f"{self._called(version)} does not say what its complaints looked like in training: {REMEDY}."
            raise ComplaintsError(msg)
        return Reference(tuple(kept["edges"]), kept["shares"])

    def _kept(self, version: str, name: str) -> dict[str, Any] | None:
        """A file of the run that made a version, or None where there is none that can be read."""
        run_id = self._run_id(version)
        try:
            return dict(mlflow.artifacts.load_dict(f"runs:/{run_id}/{name}"))
        except (MlflowException, OSError):
            return None
