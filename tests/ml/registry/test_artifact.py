"""A version with unusable files is refused in a sentence that says what is wrong and what to do."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sparknlp
from mlflow import sklearn
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LogisticRegression

from lakehouse.errors import ComplaintsError
from ml.registry.artifact import digests, reason, refuse_unfit
from tests.conftest import Trained

REMEDY = "train again with `complaints train`, or go back to the previous champion with `complaints models rollback`."
WHAT = "Version 1 of the model 'complaint_resolution'"


@pytest.fixture
def saved(trained: Trained, tmp_path: Path) -> Path:
    """A copy of a real version's files."""
    (description,) = list((trained.lake.settings.folder / "mlflow").rglob("MLmodel"))[:1]
    return Path(shutil.copytree(description.parent, tmp_path / "model"))


def refused(folder: Path, saved_with: dict[str, str]) -> str:
    with pytest.raises(ComplaintsError) as error:
        refuse_unfit(WHAT, folder, saved_with)
    return str(error.value)


def one(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def test_unchanged_files_are_accepted(saved: Path) -> None:
    stored = digests(saved)
    assert {"MLmodel", "requirements.txt", "sparkml/metadata/part-00000"} <= set(stored)
    (saved / "registered_model_meta").write_text("what MLflow adds when it downloads them", encoding="utf-8")
    refuse_unfit(WHAT, saved, stored)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("pattern", "damage", "found"),
    [
        ("sparkml/stages/*CountVectorizer*/data/*.parquet", Path.unlink, "is missing"),
        ("sparkml/stages/*StringIndexer*/data/*.parquet", truncate, "is not as it was saved"),
        ("sparkml/metadata/part-00000", lambda path: path.write_text(""), "is not as it was saved"),
        ("MLmodel", Path.unlink, "is missing"),
    ],
)
def test_a_missing_or_truncated_file_is_named(
    saved: Path, pattern: str, damage: Callable[[Path], object], found: str
) -> None:
    stored = digests(saved)
    path = one(saved, pattern)
    damage(path)
    assert refused(saved, stored) == f"{WHAT} is broken, its file {path.relative_to(saved)} {found}: {REMEDY}"


def test_a_version_that_another_spark_nlp_saved_is_refused_with_both_versions(saved: Path) -> None:
    requirements = saved / "requirements.txt"
    text = requirements.read_text(encoding="utf-8")
    requirements.write_text(re.sub(r"spark-nlp==\S+", "spark-nlp==4.4.1", text), encoding="utf-8")
    message = refused(saved, digests(saved))
    assert message == f"{WHAT} was saved with Spark NLP 4.4.1, and this is Spark NLP {sparknlp.version()}: {REMEDY}"
    requirements.unlink()
    assert "with Spark NLP of an unknown version" in refused(saved, {})


def test_a_foreign_model_is_refused_by_its_flavor_and_inputs(saved: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    sklearn.save_model(fitted, foreign, pip_requirements=[])
    assert "since it has no Spark pipeline (flavors: python_function, sklearn)" in refused(foreign, {})
    text = (saved / "MLmodel").read_text(encoding="utf-8")
    (saved / "MLmodel").write_text(text.replace('"company"', '"age"').replace("company", "age"), encoding="utf-8")
    assert "since it reads age, which complaints don't have at intake" in refused(saved, {})
    (saved / "MLmodel").write_text("flavors: [", encoding="utf-8")
    assert "since it has no description that MLflow can read" in refused(saved, {})


def test_a_spark_pipeline_without_a_signature_or_a_probability_is_refused(saved: Path) -> None:
    from mlflow.models import Model  # noqa: PLC0415

    description = Model.load(str(saved))
    inputs = description.signature.inputs
    for signature, found in (
        (ModelSignature(inputs=inputs, outputs=Schema([ColSpec("double", "price")])), "does not return a probability"),
        (None, "does not declare its inputs and outputs"),
    ):
        description.signature = signature
        description.save(str(saved / "MLmodel"))
        assert f"not a model of this project, since it {found}: {REMEDY}" in refused(saved, {})


def test_the_reason_is_the_innermost_java_cause() -> None:
    error = RuntimeError(
        "An error occurred while calling o55.load.\n"
        ": org.apache.spark.SparkException: Job aborted.\n\tat org.apache.spark.X.y(X.scala:1)\n"
        "Caused by: java.io.FileNotFoundException: File part-00000 does not exist\n\t... 8 more"
    )
    assert reason(error) == "FileNotFoundException: File part-00000 does not exist"
    assert reason(ValueError("flat\nand more")) == "flat"
    assert reason(ValueError()) == "ValueError"
