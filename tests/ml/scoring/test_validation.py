"""Invalid input is reported before anything runs; output is checked and counted."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from lakehouse.errors import ComplaintsError
from ml.features.pipeline import CATEGORIES
from ml.scoring.scoring import scored
from ml.scoring.validation import checked_output
from silver.tables import COMPLAINTS
from tests.conftest import Trained


def test_a_missing_or_wrongly_typed_column_is_named(trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS)
    score = scored(trained.model)
    with pytest.raises(
        ComplaintsError, match=r"needs the column 'company' \(string\), which the complaints don't have"
    ):
        score(complaints.drop("company"))
    text = complaints.withColumn("amounts", F.col("amounts").cast("string"))
    with pytest.raises(ComplaintsError, match="the column 'amounts' as int; the complaints have it as string"):
        score(text)


def test_output_vectors_have_one_size_and_unseen_values_are_counted(trained: Trained) -> None:
    complaints = trained.lake.read(COMPLAINTS).limit(40)
    found = checked_output(trained.model.fitted, complaints)
    assert found.rows == 40
    assert found.size > 100
    assert found.unseen.keys() == set(CATEGORIES)
    odd = complaints.withColumn("company", F.lit("A COMPANY NEVER SEEN"))
    unseen = checked_output(trained.model.fitted, odd).unseen
    assert (unseen["company"], unseen["company_and_issue"]) == (40, 40)
    with pytest.raises(ComplaintsError, match="40 complaints with a feature that is missing, not a number or out of"):
        checked_output(trained.model.fitted, complaints.withColumn("capitals_share", F.lit(1e12)))


IN_A_NEW_PROCESS = """
import sys
from lakehouse.spark.session import start_session
from lakehouse.settings import load_settings
from ml.scoring.scoring import Model, scored
from pyspark.ml import PipelineModel
spark = start_session(load_settings(root=sys.argv[1]))
model = Model("m", "1", PipelineModel.load(sys.argv[2]))
rows = spark.read.parquet(sys.argv[3]).transform(scored(model)).select("complaint_id", "probability")
for row in rows.collect():
    print(row.complaint_id, row.probability.hex())
"""


def test_a_model_loaded_in_a_new_process_gives_identical_scores(trained: Trained, tmp_path: Path) -> None:
    complaints = trained.lake.read(COMPLAINTS).orderBy("complaint_id").limit(60)
    artifact, rows = tmp_path / "artifact", tmp_path / "rows"
    trained.model.fitted.write().save(str(artifact))
    complaints.write.parquet(str(rows))
    assert isinstance(PipelineModel.load(str(artifact)), PipelineModel)
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path / "lake"), str(artifact), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    there = dict(line.split() for line in done.stdout.splitlines())
    here = complaints.transform(scored(trained.model)).collect()
    assert there == {str(row.complaint_id): row.probability.hex() for row in here}
