"""Check what goes into the artifact and what comes out of it.

The input's schema is checked before a plan is made, so that a missing or wrongly typed column is named. The output is
checked at each training, on the test part.
"""

from dataclasses import dataclass
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.ml.feature import StringIndexerModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from lakehouse.errors import ComplaintsError
from ml.features.pipeline import INPUTS
from ml.scoring.influences import raw_logit, stage_of
from silver.tables import COMPLAINTS

LARGEST = 1e6  # of a feature; all are shares, logarithms, or scaled


@dataclass(frozen=True)
class Output:
    """What came out of the artifact.

    Attributes:
        rows: complaints.
        size: of the vector of features that the classifier reads.
        unseen: category to complaints whose value training did not see.
    """

    rows: int
    size: int
    unseen: dict[str, int]


def check_input(schema: StructType) -> None:
    """Refuse a frame that the artifact can't read.

    Raises:
        ComplaintsError: names the column that is missing or of a wrong type, and what would be right.
    """
    declared = {column.name: column.type for column in COMPLAINTS.columns}
    found = {field.name: field.dataType.simpleString() for field in schema.fields}
    for name in INPUTS:
        if name not in found:
            msg = f"The model needs the column '{name}' ({declared[name]}), which the complaints don't have."
            raise ComplaintsError(msg)
        if found[name] != declared[name]:
            msg = f"The model needs the column '{name}' as {declared[name]}; the complaints have it as {found[name]}."
            raise ComplaintsError(msg)


def checked_output(fitted: PipelineModel, rows: DataFrame) -> Output:
    """What the artifact makes of complaints, checked.

    Raises:
        ComplaintsError: the vectors have another size than the classifier takes, a feature is missing, not a number
            or out of range, or a score is not a number; says how many complaints that concerns.
    """
    indexer = stage_of(fitted, StringIndexerModel)
    if indexer is None:
        msg = "The artifact has no categories: it was not made by this project."
        raise ComplaintsError(msg)
    numbers = vector_to_array(F.col("scaled_numbers"))
    wrong = F.exists(numbers, lambda value: F.isnan(value) | (F.abs(value) > LARGEST))
    unseen = {
        name.removeprefix("index_"): F.sum((F.col(name) >= len(labels)).cast("int")).alias(name)
        for name, labels in zip(indexer.getOutputCols(), indexer.labelsArray, strict=True)
    }
    scores = fitted.transform(rows.select(*INPUTS))
    classifier: Any = fitted.stages[-2]
    size = int(scores.schema[classifier.getFeaturesCol()].metadata["ml_attr"]["num_attrs"])
    unscored = raw_logit().isNull() | F.isnan(raw_logit())  # as it is, too, where any other feature is not a number
    row = scores.agg(
        F.count("*").alias("rows"),
        F.sum((F.col("features").isNull() | wrong).cast("int")).alias("wrong"),
        F.sum(unscored.cast("int")).alias("unscored"),
        *unseen.values(),
    ).collect()[0]
    expected = int(classifier.numFeatures)
    if size != expected or row.wrong or row.unscored:
        msg = (
            f"The artifact's output is wrong: vectors of {size} features where the classifier has {expected}, "
            f"{row.wrong} complaints with a feature that is missing, not a number or out of range, "
            f"{row.unscored} without a score."
        )
        raise ComplaintsError(msg)
    return Output(row.rows, size, {name: row[f"index_{name}"] or 0 for name in unseen})
