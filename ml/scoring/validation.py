"""Check the artifact's input and output.

The input schema is checked before planning, so that the error names a missing or wrongly typed column. The output is
checked in each training, on the test set.
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

LARGEST = 1e6  # maximum feature value; all are shares, logarithms, or scaled


@dataclass(frozen=True)
class Output:
    """Summary of the artifact's output.

    Attributes:
        rows: number of complaints.
        size: length of the feature vector that the classifier reads.
        unseen: category to number of complaints whose value training did not see.
    """

    rows: int
    size: int
    unseen: dict[str, int]


def check_input(schema: StructType) -> None:
    """Refuse a frame that the artifact can't read.

    Raises:
        ComplaintsError: if a column is missing or has the wrong type; names it and the expected type.
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
    """Transform complaints with the artifact and check its output.

    Raises:
        ComplaintsError: if the vectors have another size than the classifier expects, a feature is missing, not a
            number or out of range, or a score is not a number; says how many complaints are affected.
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
    unscored = raw_logit().isNull() | F.isnan(raw_logit())  # also null or NaN if any other feature is not a number
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
