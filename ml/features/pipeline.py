"""The scoring pipeline: Spark NLP text features, categories, dates, company history, and a classifier.

Reads only the intake columns in `INPUTS`, so nothing known later can reach it. One fitted artifact serves batch and
stream. Grain: one complaint in, one scored complaint out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.base import Estimator, Transformer
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    MaxAbsScaler,
    Normalizer,
    OneHotEncoder,
    SQLTransformer,
    StringIndexer,
    VectorAssembler,
)
from pyspark.sql import DataFrame
from sparknlp.annotator import DocumentNormalizer, Lemmatizer, RegexTokenizer, StopWordsCleaner
from sparknlp.base import DocumentAssembler, Finisher

from lakehouse.settings import CONF, MlSettings
from ml.features.company_history import HISTORY
from ml.features.embeddings import VARYING, embedding_stages
from ml.features.sentiment import SENTIMENT, fitted_sentiment
from silver.features import AMOUNT, REDACTION

LABEL = "successful_resolution"

# Categorical columns, and pairs of them that carry more information together.
SINGLE = (
    "product",
    "sub_product",
    "issue",
    "sub_issue",
    "company",
    "state",
    "submitted_via",
    "consumer_consent",
    "received_month",
    "received_weekday",
)
PAIRS = (("company", "product"), ("company", "issue"), ("product", "issue"))
CATEGORIES = (*SINGLE, *("_and_".join(pair) for pair in PAIRS))
FLAGS = ("is_servicemember", "is_older_american", "is_weekend", "has_narrative")
COUNTS = ("narrative_words", "redactions", "amounts", "largest_amount", "exclamations", "questions")
SHARES = ("redacted_share", "capitals_share")

INPUTS = (*SINGLE, *FLAGS, *COUNTS, *SHARES, "narrative")
# A made-up complaint as pipeline input: a real one would stay in the registry after its erasure.
EXAMPLE = {
    **dict.fromkeys(SINGLE),
    "product": "Mortgage",
    "issue": "Trouble during payment process",
    "company": "ACME",
    "state": "FL",
    "submitted_via": "Web",
    "received_month": 3,
    "received_weekday": 6,
    **dict.fromkeys(FLAGS, False),
    **dict.fromkeys(COUNTS, 0),
    **dict.fromkeys(SHARES, 0.0),
    "has_narrative": True,
    "narrative_words": 6,
    "narrative": "They charged the same fee twice.",
}
NUMBERS = (*FLAGS, *COUNTS, *SHARES, HISTORY)
NOT_GIVEN = "not given"
APOSTROPHES = "'\u2019"
Stage = Estimator[Any] | Transformer


def represented(rows: DataFrame, settings: MlSettings, *, with_text: bool) -> PipelineModel:
    """Fit the stages up to `features`; without text when there are too few narratives to learn from.

    Args:
        rows: the training set: `INPUTS` and `company_history` as of each row's own day
            (`ml.features.company_history`); no label is read.
        settings: text settings, and which optional text features to include.
        with_text: whether narratives are read.
    """
    numbers: Sequence[str] = NUMBERS
    blocks = [*(f"onehot_{name}" for name in CATEGORIES), "scaled_numbers"]
    text: Sequence[Stage] = []
    embedded: Sequence[Stage] = []
    if with_text:
        text, blocks = [*_word_stages(), *_term_stages(settings)], [*blocks, "tfidf"]
    if with_text and settings.sentiment.enabled:
        words = Pipeline(stages=[_prepared(HISTORY), *_word_stages(annotated=True)]).fit(rows)
        sentiment = fitted_sentiment(words.transform(rows.where("has_narrative")), settings)
        text, numbers = [*words.stages[1:], *sentiment, *_term_stages(settings)], (*numbers, SENTIMENT)
    if with_text and settings.embeddings.enabled:
        # After all fitted stages: otherwise each fit would compute the embeddings again.
        embedded, blocks = embedding_stages(settings.embeddings, _prepared(HISTORY).transform(rows)), [*blocks, VARYING]
    stages = [_prepared(HISTORY), *text, *_category_stages(), *_number_stages(numbers), *embedded, _assembled(blocks)]
    return Pipeline(stages=stages).fit(rows)


def artifact(
    fitted: PipelineModel, history: Mapping[str, float], classifier: Sequence[Transformer], calibration: Transformer
) -> PipelineModel:
    """Build the model to register: fitted stages, current company history, classifier, calibration.

    Its transform needs only `INPUTS` and adds `rawPrediction` (both classes), `slope` and `offset`: the logit is slope
    times raw prediction plus offset. Intermediate columns are added too.
    """
    first = _prepared(_history_lookup(history))
    return PipelineModel(stages=[first, *fitted.stages[1:], *classifier, calibration])


def _history_lookup(history: Mapping[str, float]) -> str:
    """SQL for the history of `company`: one literal map, which the optimizer folds."""
    text = json.dumps({company: round(shift, 6) for company, shift in history.items()}).replace("$", "\\u0024")
    return f"coalesce(element_at(from_json('{_sql(text)}', 'map<string,double>'), company), 0.0D)"


def _prepared(history: str) -> Transformer:
    """Return the first stage: fill nulls, take logarithms of counts, remove redactions from the text.

    The narrative becomes `model_text` and, without apostrophes, `model_words`, so that "don't" stays one word.
    """
    text = f"regexp_replace(regexp_replace(coalesce(narrative, ''), '{_sql(AMOUNT)}', ' '), '{_sql(REDACTION)}', ' ')"
    category = {name: f"coalesce(CAST({name} AS STRING), '{NOT_GIVEN}')" for name in SINGLE}
    category |= {
        "_and_".join(pair): f"concat_ws(' / ', {', '.join(category[name] for name in pair)})" for pair in PAIRS
    }
    number = {name: f"nanvl(coalesce(CAST({name} AS DOUBLE), 0.0D), 0.0D)" for name in (*FLAGS, *COUNTS, *SHARES)}
    number |= {name: f"ln(1.0D + {number[name]})" for name in COUNTS} | {HISTORY: history}
    columns = [f"{sql} AS cat_{name}" for name, sql in category.items()]
    columns += [f"{sql} AS num_{name}" for name, sql in number.items()]
    columns += [f"{text} AS model_text", f"translate({text}, '{_sql(APOSTROPHES)}', '') AS model_words"]
    return SQLTransformer(statement=f"SELECT *, {', '.join(columns)} FROM __THIS__")  # noqa: S608


def _sql(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _word_stages(*, annotated: bool = False) -> list[Stage]:
    """Return the stages up to `terms`, the lemmas; `annotated` keeps Spark NLP's annotations.

    The text is normalized as a whole, because Spark NLP's token normalizer compiles its pattern again for each token.
    Annotations that no later stage reads are dropped: they hold the narrative several times over.
    """
    return [
        DocumentAssembler().setInputCol("model_words").setOutputCol("written"),
        DocumentNormalizer()
        .setInputCols(["written"])
        .setOutputCol("normal")
        .setPatterns(["[^A-Za-z]+"])
        .setPolicy("all")
        .setLowercase(True),
        RegexTokenizer().setInputCols(["normal"]).setOutputCol("token").setPattern(" ").setMinLength(2),
        StopWordsCleaner().setInputCols(["token"]).setOutputCol("telling"),
        Lemmatizer()
        .setInputCols(["telling"])
        .setOutputCol("lemma")
        .setDictionary(str(Path(CONF) / "text" / "lemmas.txt"), "->", " "),
        Finisher().setInputCols(["lemma"]).setOutputCols(["terms"]).setCleanAnnotations(not annotated),
    ]


def _term_stages(settings: MlSettings) -> list[Stage]:
    return [
        CountVectorizer(
            inputCol="terms",
            outputCol="term_counts",
            vocabSize=settings.vocabulary_size,
            minDF=float(settings.min_document_frequency),
        ),
        IDF(inputCol="term_counts", outputCol="weighted_terms"),
        Normalizer(inputCol="weighted_terms", outputCol="tfidf", p=2.0),
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


def _number_stages(numbers: Sequence[str]) -> list[Stage]:
    return [
        VectorAssembler(inputCols=[f"num_{name}" for name in numbers], outputCol="numbers"),
        MaxAbsScaler(inputCol="numbers", outputCol="scaled_numbers"),
    ]


def _assembled(blocks: Sequence[str]) -> Stage:
    return VectorAssembler(inputCols=list(blocks), outputCol="features")
