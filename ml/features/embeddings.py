"""Sentence embeddings of the narrative: BertSentenceEmbeddings on MiniLM or on a user-provided model.

The embedding is a block of features. It has unit length; without a narrative it is zero.
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

EMBEDDING = "embedding"  # all dimensions
VARYING = "varying_embedding"  # the block of features
MIN_VARIANCE = 1e-9  # per dimension; with unit length and 384 dimensions it is typically about 0.003
SAMPLED = 200  # narratives used to find the dimensions that vary
MAX_TOKENS = 128  # per narrative: time grows with them, and the model was trained with this limit


def embedding_stages(settings: TextModelSettings, rows: DataFrame) -> list[Transformer]:
    """Return the stages from `model_text` and `has_narrative` to `embedding` and its varying dimensions.

    Three of MiniLM's dimensions are constant except for the last bits. Spark's logistic regression divides by each
    feature's standard deviation, so these would dominate: the optimizer would give up without learning a coefficient.

    Args:
        settings: which model to use.
        rows: rows with both columns; a sample of their narratives shows which dimensions vary.

    Raises:
        ComplaintsError: if the user's own model can't be loaded, or MiniLM has not been fetched.
    """
    stages = _model_stages(_minilm(rows.sparkSession) if settings.model is None else _user_model(settings.model))
    sample = rows.where("has_narrative").select("model_text", "has_narrative").limit(SAMPLED)
    selector = VarianceThresholdSelector(featuresCol=EMBEDDING, outputCol=VARYING, varianceThreshold=MIN_VARIANCE)
    return [*stages, selector.fit(PipelineModel(stages=stages).transform(sample))]


def _model_stages(model: BertSentenceEmbeddings) -> list[Transformer]:
    # One at a time: the quantized model scales its numbers per batch, so a complaint's embedding would depend on its
    # neighbors, and stream and batch would disagree.
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
    return model.setCaseSensitive(False).setMaxSentenceLength(MAX_TOKENS).setDimension(DIMENSION)


def _user_model(model: str) -> BertSentenceEmbeddings:
    return own_model("ml.embeddings.model", model, BertSentenceEmbeddings.load, BertSentenceEmbeddings.pretrained)
