"""The MLflow registry: log a trained pipeline, move the `champion` alias, load by alias.

Locally the registry is sqlite and files under the lake's folder; on Databricks it is Unity Catalog's.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import mlflow
import mlflow.spark
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from pyspark.ml import PipelineModel

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.provenance import code_version
from ml.reference import Reference
from ml.scoring import Model
from ml.split import Rule

CHAMPION = "champion"
CHALLENGER = "challenger"
CHAMPIONS = "champions"  # tag of the model: versions in the order in which they became champion
CARD = "card.md"
REFERENCE = "reference.json"
MISSING = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)  # what MLflow says of a model or alias that isn't there
# Said by hand: MLflow would otherwise import the model in a new process to find out.
REQUIREMENTS = ("pyspark==3.5.7", "spark-nlp==5.5.3", "mlflow==3.17.2")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class UnreachableError(ComplaintsError):
    """Raised when the registry does not answer, which says nothing of whether there is a champion."""


@dataclass(frozen=True)
class Version:
    """A version in the registry, with the metrics of its training and its card."""

    number: str
    aliases: tuple[str, ...]
    made_at: datetime
    metrics: dict[str, float]
    card: str


class Registry:
    """The project's registered model."""

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

    def log(
        self,
        fitted: PipelineModel,
        *,
        parameters: Mapping[str, object],
        metrics: Mapping[str, float],
        signature: ModelSignature,
        figures: Mapping[str, Figure] = MappingProxyType({}),
        texts: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Log one training run with its model, figures and texts, and register the model as the challenger.

        Returns:
            The new version.
        """
        self._use_experiment()
        with mlflow.start_run():
            mlflow.log_params(dict(parameters))
            mlflow.log_metrics(dict(metrics))
            mlflow.set_tags({"code_version": code_version()})
            for name, figure in figures.items():
                mlflow.log_figure(figure, f"figures/{name}.png")
            for name, text in texts.items():
                mlflow.log_text(text, name)
            info = mlflow.spark.log_model(
                fitted,
                artifact_path="model",
                registered_model_name=self.name,
                signature=signature,
                pip_requirements=list(REQUIREMENTS),
            )
        version = str(info.registered_model_version)
        client = MlflowClient()
        client.set_registered_model_alias(self.name, CHALLENGER, version)
        if CARD in texts:
            client.update_model_version(self.name, version, texts[CARD])
        return version

    def _use_experiment(self) -> None:
        name = self._settings.ml.experiment
        if self._on_databricks:
            mlflow.set_experiment(name)
            return
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=(self._folder / "artifacts").as_uri())
        mlflow.set_experiment(name)

    def promote(self, version: str) -> None:
        """Make a version the champion, which the stream loads; the one before is remembered."""
        self._crown(version, [*self._champions(), version])

    def rollback(self) -> tuple[str, str]:
        """Make the champion before the current one champion again.

        Returns:
            The version left and the version that is champion now.

        Raises:
            ComplaintsError: there was none before.
        """
        left = self.champion_version()
        before = [version for version in self._champions() if version != left]
        if not before:
            msg = f"Version {left} of the model '{self.name}' is the first champion: there is none to go back to."
            raise ComplaintsError(msg)
        self._crown(before[-1], before)
        return left, before[-1]

    def _crown(self, version: str, champions: list[str]) -> None:
        client = MlflowClient()
        aliases = client.get_model_version(self.name, version).aliases
        client.set_registered_model_alias(self.name, CHAMPION, version)
        client.set_registered_model_tag(self.name, CHAMPIONS, ",".join(champions))
        if CHALLENGER in aliases:
            client.delete_registered_model_alias(self.name, CHALLENGER)

    def _champions(self) -> list[str]:
        """Versions in the order in which they became champion."""
        tags = MlflowClient().get_registered_model(self.name).tags
        return [version for version in tags.get(CHAMPIONS, "").split(",") if version]

    def champion_version(self) -> str:
        """The version that the champion alias names.

        Raises:
            UnreachableError: the registry does not answer.
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
        """The version that an alias names, or None.

        Raises:
            UnreachableError: the registry does not answer.
        """
        try:
            return str(MlflowClient().get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in MISSING:
                return None
            first = str(error).strip().partition("\n")[0]
            msg = f"The registry of the model '{self.name}' can't be reached: {first}"
            raise UnreachableError(msg) from error

    def versions(self) -> list[Version]:
        """All versions, the latest first."""
        client = MlflowClient()
        found = client.search_model_versions(f"name='{self.name}'")
        if not found:
            self.champion_version()  # refuses, and says what to do
        aliases: dict[str, list[str]] = {}
        for alias, version in client.get_registered_model(self.name).aliases.items():
            aliases.setdefault(str(version), []).append(alias)
        return [
            Version(
                str(one.version),
                tuple(sorted(aliases.get(str(one.version), []))),
                datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
                dict(client.get_run(str(one.run_id)).data.metrics),
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

    def parameters(self, version: str) -> dict[str, str]:
        """What the training of a version was given and decided, as it was logged."""
        client = MlflowClient()
        run_id = client.get_model_version(self.name, version).run_id
        return dict(client.get_run(str(run_id)).data.params)

    def rule(self, version: str) -> Rule:
        """By which rule the complaints of a version's training were parted.

        Raises:
            ComplaintsError: an earlier version of this project made it, which kept none.
        """
        parameters = self.parameters(version)
        if "rule" not in parameters:
            msg = (
                f"Version {version} of the model '{self.name}' was trained by an earlier version of this project, "
                "which did not keep what it learned from: train again with `complaints train`."
            )
            raise ComplaintsError(msg)
        return Rule.from_json(parameters["rule"])

    def reference(self, version: str) -> Reference:
        """What a version's complaints looked like in training."""
        run_id = MlflowClient().get_model_version(self.name, version).run_id
        kept = mlflow.artifacts.load_dict(f"runs:/{run_id}/{REFERENCE}")
        return Reference(tuple(kept["edges"]), kept["shares"])

    def champion(self) -> Model:
        """The champion, loaded.

        Raises:
            ComplaintsError: there is none, or its files can't be read.
        """
        return self.load(self.champion_version())

    def load(self, version: str) -> Model:
        """A version, loaded.

        Raises:
            ComplaintsError: its files can't be read: gone, half written, or of another version of Spark NLP.
        """
        try:
            fitted = mlflow.spark.load_model(
                f"models:/{self.name}/{version}", dfs_tmpdir=os.environ.get("MLFLOW_DFS_TMP")
            )
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            msg = (
                f"Version {version} of the model '{self.name}' can't be loaded ({first}): "
                "train again with `complaints train`."
            )
            raise ComplaintsError(msg) from error
        return Model(self.name, version, fitted)

    def attach(self, version: str, folder: Path, name: str) -> None:
        """Keep a folder's files as artifacts of the run that made a version."""
        client = MlflowClient()
        run_id = client.get_model_version(self.name, version).run_id
        client.log_artifacts(str(run_id), str(folder), name)
