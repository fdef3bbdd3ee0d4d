"""The MLflow registry: log a trained pipeline, move the `champion` alias, check and load a version."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import mlflow
import mlflow.spark
import pyspark
import sparknlp
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from pyspark.ml import PipelineModel

from lakehouse.errors import ComplaintsError
from ml.registry.artifact import REMEDY, digests, reason, refuse_unfit
from ml.registry.provenance import code_version
from ml.registry.relocation import location
from ml.registry.spark_path import spark_path
from ml.registry.versions import CHALLENGER, CHAMPION, VersionReader
from ml.scoring.scoring import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # importing it would add a second to every command

CHAMPIONS = "champions"  # model tag: versions in the order in which they became champion
CARD = "card.md"
FILES = "files.json"  # digest of each model file when it was saved
# Explicit, because MLflow would otherwise load the model in a new process to infer them.
REQUIREMENTS = (
    f"pyspark=={pyspark.__version__}",
    f"spark-nlp=={sparknlp.version()}",
    f"mlflow=={mlflow.__version__}",
)


class Registry(VersionReader):
    """The project's registered model: reads its versions, and logs, promotes and loads them."""

    def log(
        self,
        fitted: PipelineModel,
        *,
        parameters: Mapping[str, object],
        metrics: Mapping[str, float],
        signature: ModelSignature,
        figures: "Mapping[str, Figure]" = MappingProxyType({}),
        texts: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Log one training run with its model, figures and texts, and register the model as the challenger.

        Returns:
            The new version.
        """
        with self._access(writing=True):
            return self._logged(fitted, parameters, metrics, signature, figures, texts)

    def _logged(
        self,
        fitted: PipelineModel,
        parameters: Mapping[str, object],
        metrics: Mapping[str, float],
        signature: ModelSignature,
        figures: "Mapping[str, Figure]",
        texts: Mapping[str, str],
    ) -> str:
        self._use_experiment()
        with mlflow.start_run() as run:
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
                dfs_tmpdir=self._dfs_tmp,
                registered_model_name=self.name,
                signature=signature,
                pip_requirements=list(REQUIREMENTS),
            )
        version = str(info.registered_model_version)
        client = MlflowClient()
        client.log_dict(run.info.run_id, digests(self._files(version)), FILES)
        client.set_registered_model_alias(self.name, CHALLENGER, version)
        if CARD in texts:
            client.update_model_version(self.name, version, texts[CARD])
        return version

    def _use_experiment(self) -> None:
        name = self._settings.ml.experiment
        if not self._has_file:
            mlflow.set_experiment(name)
            return
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=location(self._folder))
        mlflow.set_experiment(name)

    def _files(self, version: str) -> Path:
        """Return a local folder with a version's files."""
        return Path(mlflow.artifacts.download_artifacts(f"models:/{self.name}/{version}"))

    def promote(self, version: str) -> None:
        """Make a version the champion, which the stream loads; the previous one is recorded.

        Raises:
            ComplaintsError: if its files can't be used.
        """
        self._set_champion(version, [*self._champions(), version])

    def rollback(self) -> tuple[str, str]:
        """Make the previous champion the champion again.

        Returns:
            The version that was champion and the version that is champion now.

        Raises:
            ComplaintsError: if there was no previous champion, or its files can't be used.
        """
        left = self.champion_version()
        before = [version for version in self._champions() if version != left]
        if not before:
            msg = f"Version {left} of the model '{self.name}' is the first champion: there is none to go back to."
            raise ComplaintsError(msg)
        self._set_champion(before[-1], before)
        return left, before[-1]

    def _set_champion(self, version: str, champions: list[str]) -> None:
        self.check(version)
        with self._access(writing=True):
            client = MlflowClient()
            aliases = client.get_model_version(self.name, version).aliases
            client.set_registered_model_alias(self.name, CHAMPION, version)
            client.set_registered_model_tag(self.name, CHAMPIONS, ",".join(champions))
            if CHALLENGER in aliases:
                client.delete_registered_model_alias(self.name, CHALLENGER)

    def _champions(self) -> list[str]:
        """List the versions in the order in which they became champion."""
        with self._access():
            tags = MlflowClient().get_registered_model(self.name).tags
        return [version for version in tags.get(CHAMPIONS, "").split(",") if version]

    def check(self, version: str) -> None:
        """Check a version's files without loading it.

        Raises:
            ComplaintsError: if there is no such version, or its files are missing, truncated, from another version of
                Spark NLP or not a model of this project; says what to do.
        """
        saved_with = self._artifact_of_run(version, FILES) or {}
        try:
            folder = self._files(version)
        except (MlflowException, OSError) as error:
            msg = f"{self._label(version)} is broken, its files are gone: {REMEDY}."
            raise ComplaintsError(msg) from error
        refuse_unfit(self._label(version), folder, saved_with)

    def champion(self) -> Model:
        """Load the champion.

        Raises:
            ComplaintsError: if there is none, or it can't be loaded.
        """
        return self.load(self.champion_version())

    def load(self, version: str) -> Model:
        """Load a version.

        Raises:
            ComplaintsError: if `check` refuses it, or Spark can't load it.
        """
        self.check(version)
        try:
            with self._source(version) as source:
                fitted = mlflow.spark.load_model(source, dfs_tmpdir=self._dfs_tmp)
        except Exception as error:
            msg = f"{self._label(version)} can't be loaded ({reason(error)}): {REMEDY}."
            raise ComplaintsError(msg) from error
        return Model(self.name, version, fitted)

    def _source(self, version: str) -> AbstractContextManager[str]:
        """Return from where Spark loads a version."""
        return spark_path(self._files(version)) if self._has_file else nullcontext(f"models:/{self.name}/{version}")

    def attach(self, version: str, folder: Path, name: str) -> None:
        """Store a folder's files as artifacts of the run that produced a version."""
        run_id = self._run_id(version)
        with self._access(writing=True):
            MlflowClient().log_artifacts(run_id, str(folder), name)
