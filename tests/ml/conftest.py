"""What the tests of training share."""

from collections.abc import Iterator

import pytest
from pyspark.sql import DataFrame

from ml.data.examples import examples
from ml.data.split import parted
from tests.conftest import Trained


@pytest.fixture(scope="module")
def parts(trained: Trained) -> Iterator[DataFrame]:
    """The trained lake's complaints with a known outcome, parted as training does."""
    rows = parted(examples(trained.lake).where("label IS NOT NULL"), trained.lake.settings.ml).persist()
    yield rows
    rows.unpersist()
