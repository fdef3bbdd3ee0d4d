"""The scoring pipeline: text by Spark NLP, categories, dates and narrative shape, and a logistic regression.

Reads only the intake columns named in `INPUTS`, so nothing known later can reach it. One fitted artifact serves batch
and stream. Grain: one complaint in, one scored complaint out.
"""

from pathlib import Path
from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.base import Estimator, Transformer
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from sparknlp.annotator import Lemmatizer, Normalizer, StopWordsCleaner, Tokenizer
from sparknlp.base import DocumentAssembler, Finisher

from lakehouse.settings import CONF, MlSettings
from silver.features import AMOUNT, REDACTION

LABEL = "successful_resolution"

CATEGORIES = ("product", "sub_product", "issue", "sub_issue", "company", "state", "submitted_via", "consumer_consent")
FLAGS = ("is_servicemember", "is_older_american", "is_weekend", "has_narrative")
NUMBERS = (
    "received_month",
    "received_weekday",
    "narrative_words",
    "redactions",
    "redacted_share",
    "amounts",
    "largest_amount",
    "capitals_share",
    "exclamations",
    "questions",
)
SKEWED = frozenset({"narrative_words", "redactions", "amounts", "largest_amount", "exclamations", "questions"})
Stage = Estimator[Any] | Transformer

INPUTS = (*CATEGORIES, *FLAGS, *NUMBERS, "narrative")
SHAPE = (*FLAGS, *NUMBERS)
NOT_GIVEN = "not given"


def pipeline(settings: MlSettings) -> Pipeline:
    """The unfitted pipeline.

    Fitting needs `INPUTS` and a double column `label` (1 = successful resolution). The fitted model's transform needs
    `INPUTS` alone and adds `probability` (vector of both classes), `rawPrediction` (logits) and the columns between.
    """
    return Pipeline(
        stages=[_prepared(), *_text_stages(settings), *_category_stages(), *_number_stages(), *_model(settings)]
    )


def _prepared() -> Transformer:
    """Nulls to empty text or zero, counts to logarithms, and the narrative without the CFPB's redactions."""
    text = f"regexp_replace(regexp_replace(coalesce(narrative, ''), '{_sql(AMOUNT)}', ' '), '{_sql(REDACTION)}', ' ')"
    columns = [f"coalesce({name}, '{NOT_GIVEN}') AS cat_{name}" for name in CATEGORIES]
    for name in SHAPE:
        number = f"coalesce(CAST({name} AS DOUBLE), 0.0D)"
        columns.append(f"{f'ln(1.0D + {number})' if name in SKEWED else number} AS num_{name}")
    return SQLTransformer(statement=f"SELECT *, {text} AS model_text, {', '.join(columns)} FROM __THIS__")  # noqa: S608


def _sql(pattern: str) -> str:
    return pattern.replace("\\", "\\\\")


def _text_stages(settings: MlSettings) -> list[Stage]:
    return [
        DocumentAssembler().setInputCol("model_text").setOutputCol("document"),
        Tokenizer().setInputCols(["document"]).setOutputCol("token"),
        Normalizer()
        .setInputCols(["token"])
        .setOutputCol("normal")
        .setLowercase(True)
        .setMinLength(2)
        .setCleanupPatterns(["[^A-Za-z]"]),
        StopWordsCleaner().setInputCols(["normal"]).setOutputCol("telling"),
        Lemmatizer()
        .setInputCols(["telling"])
        .setOutputCol("lemma")
        .setDictionary(str(Path(CONF) / "text" / "lemmas.txt"), "->", " "),
        Finisher().setInputCols(["lemma"]).setOutputCols(["terms"]).setCleanAnnotations(True),
        CountVectorizer(
            inputCol="terms",
            outputCol="term_counts",
            vocabSize=settings.vocabulary_size,
            minDF=float(settings.min_document_frequency),
        ),
        IDF(inputCol="term_counts", outputCol="tfidf"),
    ]


def _category_stages() -> list[Stage]:
    return [
        StringIndexer(
            inputCols=[f"cat_{name}" for name in CATEGORIES],
            outputCols=[f"index_{name}" for name in CATEGORIES],
            handleInvalid="keep",
        ),
        OneHotEncoder(
            inputCols=[f"index_{name}" for name in CATEGORIES],
            outputCols=[f"onehot_{name}" for name in CATEGORIES],
            handleInvalid="keep",
            dropLast=True,
        ),
    ]


def _number_stages() -> list[Stage]:
    return [
        VectorAssembler(inputCols=[f"num_{name}" for name in SHAPE], outputCol="shape"),
        StandardScaler(inputCol="shape", outputCol="scaled_shape", withMean=True, withStd=True),
    ]


def _model(settings: MlSettings) -> list[Stage]:
    blocks = [f"onehot_{name}" for name in CATEGORIES]
    return [
        VectorAssembler(inputCols=[*blocks, "scaled_shape", "tfidf"], outputCol="features"),
        LogisticRegression(
            featuresCol="features",
            labelCol="label",
            regParam=settings.regularisation,
            maxIter=100,
            standardization=False,
        ),
    ]
