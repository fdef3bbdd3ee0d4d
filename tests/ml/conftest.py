"""Fixtures shared by the ml tests."""

from collections.abc import Iterator

import pytest
from pyspark.sql import DataFrame

from ml.data.examples import examples
from ml.data.split import parted
from tests.conftest import Trained


@pytest.fixture(scope="module")
def parts(trained: Trained) -> Iterator[DataFrame]:
    """The trained lake's complaints with a known outcome, split as in training."""
    rows = parted(examples(trained.lake).where("label IS NOT NULL"), trained.lake.settings.ml).persist()
    yield rows
    rows.unpersist()
