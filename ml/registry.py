"""The MLflow registry: log a trained pipeline, move the `champion` alias, load by alias.

Locally the registry is sqlite and files under the lake's folder; on Databricks it is Unity Catalog's.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import mlflow
import mlflow.spark
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.pipeline import INPUTS
from ml.scoring import Model

CHAMPION = "champion"
# Said by hand: MLflow would otherwise import the model in a new process to find out.
REQUIREMENTS = ("pyspark==3.5.7", "spark-nlp==5.5.3", "mlflow==3.17.2")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def signature(rows: DataFrame) -> ModelSignature:
    """The model's signature: `INPUTS` with their types in, one double out."""
    names = {"int": "integer", "bigint": "long"}
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(names.get(kind := rows.schema[name].dataType.simpleString(), kind), name, required=False)
        for name in INPUTS
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "probability")]))


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
    ) -> str:
        """Log one training run with its model and register it.

        Returns:
            The new version.
        """
        self._use_experiment()
        with mlflow.start_run():
            mlflow.log_params(dict(parameters))
            mlflow.log_metrics(dict(metrics))
            info = mlflow.spark.log_model(
                fitted,
                artifact_path="model",
                registered_model_name=self.name,
                signature=signature,
                pip_requirements=list(REQUIREMENTS),
            )
        return str(info.registered_model_version)

    def _use_experiment(self) -> None:
        name = self._settings.ml.experiment
        if self._on_databricks:
            mlflow.set_experiment(name)
            return
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=(self._folder / "artifacts").as_uri())
        mlflow.set_experiment(name)

    def promote(self, version: str) -> None:
        """Make a version the champion, which the stream loads."""
        MlflowClient().set_registered_model_alias(self.name, CHAMPION, version)

    def champion_version(self) -> str:
        """The version that the champion alias names.

        Raises:
            ComplaintsError: there is none; says which command makes one.
        """
        try:
            return str(MlflowClient().get_model_version_by_alias(self.name, CHAMPION).version)
        except MlflowException as error:
            msg = (
                f"The registry has no champion of the model '{self.name}': run `complaints train` first "
                "(it needs complaints with outcomes: `complaints load`)."
            )
            raise ComplaintsError(msg) from error

    def parameters(self, version: str) -> dict[str, str]:
        """What the training of a version was given and decided, as it was logged."""
        client = MlflowClient()
        run_id = client.get_model_version(self.name, version).run_id
        return dict(client.get_run(str(run_id)).data.params)

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
