"""Sentence embeddings of the narrative, as a block of features: BertSentenceEmbeddings on MiniLM, or on a user's own.

The embedding has unit length; without a narrative it is zero.
"""

from pyspark.ml import PipelineModel
from pyspark.ml.base import Transformer
from pyspark.ml.feature import HashingTF, Normalizer, SQLTransformer, VarianceThresholdSelector, VectorSizeHint
from pyspark.sql import DataFrame, SparkSession
from sparknlp.annotator import BertSentenceEmbeddings
from sparknlp.base import DocumentAssembler, EmbeddingsFinisher

from lakehouse.settings_sections import TextModelSettings
from ml.features.minilm import DIMENSION, minilm_folder
from ml.features.own_model import own_model

EMBEDDING = "embedding"  # whole
VARYING = "varying_embedding"  # the block of features
LEAST_VARIANCE = 1e-9  # of a dimension; one of 384, of unit length together, has about 0.003
LOOKED_AT = 200  # narratives, which tell a dimension that varies from one that doesn't
MOST_TOKENS = 128  # of a narrative: time grows with them, and the model was trained on as many


def embedding_stages(settings: TextModelSettings, rows: DataFrame) -> list[Transformer]:
    """The stages from `model_text` and `has_narrative` to `embedding`, and to its dimensions that vary.

    Three of MiniLM's dimensions are constant but for the last bits. Spark's logistic regression divides by each
    feature's deviation, so these would be all that its optimiser sees: it would give up with no coefficient learned.

    Args:
        settings: whose model.
        rows: with both columns; a few of their narratives tell which dimensions vary.

    Raises:
        ComplaintsError: the user's own model can't be loaded, or MiniLM has not been fetched.
    """
    stages = _whole(_minilm(rows.sparkSession) if settings.model is None else _own(settings.model))
    few = rows.where("has_narrative").select("model_text", "has_narrative").limit(LOOKED_AT)
    selector = VarianceThresholdSelector(featuresCol=EMBEDDING, outputCol=VARYING, varianceThreshold=LEAST_VARIANCE)
    return [*stages, selector.fit(PipelineModel(stages=stages).transform(few))]


def _whole(model: BertSentenceEmbeddings) -> list[Transformer]:
    # One at a time: the quantised model scales its numbers by the batch, so a complaint's embedding would depend on its
    # neighbours, and stream and batch would disagree.
    model = model.setInputCols(["document"]).setOutputCol("sentence_vectors").setBatchSize(1)
    return [
        DocumentAssembler().setInputCol("model_text").setOutputCol("document"),
        model,
        EmbeddingsFinisher()
        .setInputCols(["sentence_vectors"])
        .setOutputCols(["sentence_vector"])
        .setOutputAsVector(True)
        .setCleanAnnotations(True),
        SQLTransformer(
            statement="SELECT *, CASE WHEN has_narrative THEN get(sentence_vector, 0) END AS found_vector, "
            "CAST(array() AS array<string>) AS no_words FROM __THIS__"
        ),
        HashingTF(inputCol="no_words", outputCol="zero_vector", numFeatures=model.getDimension()),
        SQLTransformer(statement="SELECT *, coalesce(found_vector, zero_vector) AS any_vector FROM __THIS__"),
        Normalizer(inputCol="any_vector", outputCol=EMBEDDING, p=2.0),
        VectorSizeHint(inputCol=EMBEDDING, size=model.getDimension(), handleInvalid="error"),
    ]


def _minilm(spark: SparkSession) -> BertSentenceEmbeddings:
    model = BertSentenceEmbeddings.loadSavedModel(str(minilm_folder()), spark)
    return model.setCaseSensitive(False).setMaxSentenceLength(MOST_TOKENS).setDimension(DIMENSION)


def _own(model: str) -> BertSentenceEmbeddings:
    return own_model("ml.embeddings.model", model, BertSentenceEmbeddings.load, BertSentenceEmbeddings.pretrained)
