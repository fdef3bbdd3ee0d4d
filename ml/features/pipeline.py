"""The scoring pipeline: text by Spark NLP, categories, dates, company history, narrative shape, and a classifier.

Reads only the intake columns named in `INPUTS`, so nothing known later can reach it. One fitted artifact serves batch
and stream. Grain: one complaint in, one scored complaint out.
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

# Columns that are categories, and pairs of them that say more together than apart.
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
# One complaint as the pipeline takes it, made up: a real one would outlive its erasure in the registry.
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
    """The stages up to `features`, fitted; without text where there are no narratives to learn from.

    Args:
        rows: to fit on: `INPUTS` and `company_history` as of each row's own day (`ml.features.company_history`); no
            label is read.
        settings: of the text, and which of the optional features are made of it.
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
        felt = fitted_sentiment(words.transform(rows.where("has_narrative")), settings)
        text, numbers = [*words.stages[1:], *felt, *_term_stages(settings)], (*numbers, SENTIMENT)
    if with_text and settings.embeddings.enabled:
        # After all that is fitted: each fit would work the embeddings out again.
        embedded, blocks = embedding_stages(settings.embeddings, _prepared(HISTORY).transform(rows)), [*blocks, VARYING]
    stages = [_prepared(HISTORY), *text, *_category_stages(), *_number_stages(numbers), *embedded, _assembled(blocks)]
    return Pipeline(stages=stages).fit(rows)


def artifact(
    fitted: PipelineModel, history: Mapping[str, float], classifier: Sequence[Transformer], calibration: Transformer
) -> PipelineModel:
    """The model as it is registered: the fitted stages with the company history as of now, classifier, calibration.

    Its transform needs `INPUTS` alone and adds `rawPrediction` (of both classes), `slope` and `offset`: the logit is
    slope times raw prediction plus offset. It adds the columns between, too.
    """
    first = _prepared(_looked_up(history))
    return PipelineModel(stages=[first, *fitted.stages[1:], *classifier, calibration])


def _looked_up(history: Mapping[str, float]) -> str:
    """SQL for the history of `company`: one literal map, which the optimiser folds."""
    text = json.dumps({company: round(shift, 6) for company, shift in history.items()}).replace("$", "\\u0024")
    return f"coalesce(element_at(from_json('{_sql(text)}', 'map<string,double>'), company), 0.0D)"


def _prepared(history: str) -> Transformer:
    """Nulls to a value or zero, counts to logarithms, and the narrative without the CFPB's redactions.

    It comes twice: as `model_text`, and without apostrophes as `model_words`, so that "don't" stays one word.
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
    """Up to `terms`, the lemmas of the narrative; with Spark NLP's annotations on the way when something follows them.

    The text is normalized as a whole: Spark NLP's normalizer of tokens compiles its pattern anew for each of them.
    Annotations that nothing follows are dropped: they hold the narrative several times over.
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
