"""Sentiment of the narrative as one number: how negative it is, from 0 to 1; 0 without a narrative.

Complaints have no sentiment labels, so the project's own SentimentDLModel is trained on weak labels (distant
supervision, Go, Bhayani and Huang 2009): a narrative with one of the strong words of conf/text/strong_words.txt is
negative, any other positive. The network reads averaged word vectors of all other lemmas: the strong words are removed
from its input, so it has to recognize a negative narrative by their context. No outcome is read.
"""

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.base import Transformer
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from sparknlp.annotator import SentenceEmbeddings, SentimentDLApproach, StopWordsCleaner, Word2VecApproach
from sparknlp.base import DocumentAssembler, Finisher
from sparknlp.pretrained import ResourceDownloader

from lakehouse.errors import ComplaintsError
from lakehouse.settings import CONF, MlSettings
from ml.features.own_model import own_model
from ml.metrics import measured

SENTIMENT = "sentiment"
SUPPORTED_PLATFORM = ("Linux", "x86_64")
MAX_ROWS = 20_000  # narratives to train on: Spark NLP collects them on the driver
# Chosen on narratives of the training set. At the default learning rate, 0.005, the network collapses to predicting
# every narrative positive.
DIMENSION, PASSES = 100, 10  # of the word vectors
EPOCHS, LEARNING_RATE, DROPOUT = 20, 0.0005, 0.1


@dataclass(frozen=True)
class Agreement:
    """Narrative count, share with strong words, and the AUC-ROC of the sentiment in predicting which."""

    rows: int
    negative: float
    auc_roc: float | None


def strong_words() -> list[str]:
    """The lemmas that label a narrative as negative."""
    lines = (CONF / "text" / "strong_words.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def fitted_sentiment(narratives: DataFrame, settings: MlSettings) -> list[Transformer]:
    """Return the stages that compute `num_sentiment`, trained here or loaded from the user's model.

    Args:
        narratives: rows with the annotations `normal` and `lemma`.
        settings: uses `sentiment` and `seed`.

    Raises:
        ComplaintsError: if TensorFlow is not supported on this platform, all narratives have the same weak label, or
            the user's own pipeline can't be loaded.
    """
    if settings.sentiment.model is not None:
        stages = _user_pipeline(settings.sentiment.model)
    else:
        if (platform.system(), platform.machine()) != SUPPORTED_PLATFORM:
            msg = "Sentiment trains with TensorFlow, here only for Linux x86-64: set ml.sentiment.enabled to false."
            raise ComplaintsError(msg)
        stages = _trained_stages(narratives, settings.seed)
    annotated: Any = stages[-1]
    column = annotated.getOutputCol()
    negative = f"get({column}, 0).metadata['negative']"
    score = f"CASE WHEN has_narrative THEN coalesce(CAST({negative} AS DOUBLE), 0.0D) ELSE 0.0D END"
    return [
        *stages,
        SQLTransformer(statement=f"SELECT *, {score} AS num_{SENTIMENT} FROM __THIS__"),  # noqa: S608
        Finisher().setInputCols([column]).setOutputCols([f"{SENTIMENT}_said"]).setCleanAnnotations(True),
    ]


def _trained_stages(narratives: DataFrame, seed: int) -> list[Transformer]:
    stages = [
        StopWordsCleaner().setInputCols(["lemma"]).setOutputCol("plain_lemma").setStopWords(strong_words()),
        Word2VecApproach()
        .setInputCols(["plain_lemma"])
        .setOutputCol("word_vectors")
        .setVectorSize(DIMENSION)
        .setMinCount(5)
        .setMaxIter(PASSES)
        .setSeed(seed),
        SentenceEmbeddings().setInputCols(["normal", "word_vectors"]).setOutputCol("narrative_vector"),
        SentimentDLApproach()
        .setInputCols(["narrative_vector"])
        .setOutputCol("sentiment")
        .setLabelColumn("tone")
        .setMaxEpochs(EPOCHS)
        .setLr(LEARNING_RATE)
        .setDropout(DROPOUT)
        .setRandomSeed(seed)
        .setEnableOutputLogs(False),
    ]
    tone = F.when(_is_strong(), "negative").otherwise("positive")
    labeled = narratives.select("normal", "lemma", tone.alias("tone"))
    counts = {row.tone: row["count"] for row in labeled.groupBy("tone").count().collect()}  # bounded: two rows
    if len(counts) < 2:  # noqa: PLR2004
        msg = f"All {sum(counts.values())} narratives are {''.join(counts)}: no sentiment can be learned from them."
        raise ComplaintsError(msg)
    share = min(1.0, MAX_ROWS / sum(counts.values()))
    sampled = labeled.sample(share, seed=seed).persist()  # the word vectors alone take several passes
    try:
        return list(Pipeline(stages=stages).fit(sampled).stages)
    finally:
        sampled.unpersist()


def _is_strong() -> Column:
    return F.arrays_overlap(F.col("lemma.result"), F.array(*(F.lit(word) for word in strong_words())))


def _user_pipeline(model: str) -> list[Transformer]:
    """Load a user's own pipeline from `model_text`; its last stage computes the sentiment."""
    stages = own_model(
        "ml.sentiment.model",
        model,
        lambda folder: PipelineModel.load(folder).stages,
        lambda name: ResourceDownloader.downloadPipeline(name, "en").stages,
    )
    annotators = [stage for stage in stages if not isinstance(stage, DocumentAssembler | Finisher)]
    if not annotators or not hasattr(annotators[-1], "getOutputCol"):
        msg = f"The setting ml.sentiment.model is '{model}', a pipeline that does not end in a sentiment."
        raise ComplaintsError(msg)
    return [DocumentAssembler().setInputCol("model_text").setOutputCol("document"), *annotators]


def agreement(fitted: PipelineModel, narratives: DataFrame) -> Agreement | None:
    """Measure how well the project's own sentiment predicts strong words, which it doesn't see.

    Args:
        fitted: the artifact.
        narratives: complaints with a narrative that the artifact was not trained on.

    Returns:
        The agreement; None when there are no narratives.
    """
    scored = PipelineModel(stages=_up_to_sentiment(fitted)).transform(narratives)
    found = scored.select(_is_strong().cast("double"), f"num_{SENTIMENT}").collect()  # bounded: two numbers per row
    if not found:
        return None
    tone, score = (np.array(values, dtype=float) for values in zip(*found, strict=True))
    return Agreement(len(tone), float(tone.mean()), measured(tone, score, 0.5)["auc_roc"])


def _up_to_sentiment(fitted: PipelineModel) -> list[Transformer]:
    """Return the stages before the one that drops the annotations."""
    last = max(place for place, stage in enumerate(fitted.stages) if isinstance(stage, Finisher))
    return list(fitted.stages[:last])
