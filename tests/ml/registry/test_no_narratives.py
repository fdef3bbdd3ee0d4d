"""The registry stores no complaints from training: they would remain after an erasure."""

import json
import re

import mlflow
from pyspark.sql import functions as F

from lakehouse.file_search import files_below, holds
from ml.features.pipeline import EXAMPLE, INPUTS
from ml.registry.registry import Registry
from silver.tables import COMPLAINTS
from tests.conftest import Trained


def test_no_file_of_the_registry_contains_a_narrative(trained: Trained) -> None:
    rows = trained.lake.read(COMPLAINTS).where("narrative IS NOT NULL").select("narrative").collect()
    plain = [re.findall(r"[A-Za-z ,.]{50}", row.narrative) for row in rows]
    parts = sorted({found[0] for found in plain if found and "XX" not in found[0]})
    assert len(parts) > 50
    registry = trained.lake.settings.folder / "mlflow"
    assert any(files_below(registry))
    wanted = "|".join(map(re.escape, parts))
    assert [path.name for path in files_below(registry) if holds(path, wanted)] == []


def test_the_input_example_is_valid_and_made_up(trained: Trained) -> None:
    assert set(EXAMPLE) == set(INPUTS)
    registry = Registry(trained.lake.settings)
    run = mlflow.MlflowClient().get_model_version(registry.name, "1").run_id
    assert json.loads(mlflow.artifacts.load_text(f"runs:/{run}/input_example.json")) == [EXAMPLE]
    columns = trained.lake.read(COMPLAINTS).select(*INPUTS).schema.simpleString()
    row = F.from_json(F.lit(json.dumps(EXAMPLE)), columns)
    one = trained.lake.spark.range(1).select(row.alias("row")).select("row.*")
    assert trained.model.fitted.transform(one).count() == 1
