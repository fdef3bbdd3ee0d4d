"""Provenance of a version: the code version and the model signature."""

import importlib.metadata

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from pyspark.sql import DataFrame

from lakehouse.settings import CONF
from ml.features.pipeline import INPUTS

PROJECT = CONF.parent


def code_version() -> str:
    """Return the project's version, with the commit when it runs from a clone."""
    version = importlib.metadata.version("complaints")
    head = PROJECT / ".git" / "HEAD"
    if not head.is_file():
        return version
    text = head.read_text(encoding="utf-8").strip()
    reference = PROJECT / ".git" / text.removeprefix("ref: ")
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else text.rpartition("/")[2]
    return f"{version}+{commit[:12]}"


def signature(rows: DataFrame) -> ModelSignature:
    """Return the model signature: `INPUTS` with their types in, one double out."""
    names = {"int": "integer", "bigint": "long"}
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(names.get(kind := rows.schema[name].dataType.simpleString(), kind), name, required=False)
        for name in INPUTS
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "probability")]))
