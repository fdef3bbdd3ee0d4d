"""Three simple baselines, fitted and evaluated on the same complaints as the model.

Works on pandas frames on the driver. A model that does not beat these is not worth running.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from ml.features.pipeline import NOT_GIVEN, SINGLE
from ml.metrics import Numbers

MAX_ROWS = 50_000  # the latest rows; scikit-learn and the driver can handle that many
COLUMNS = ("label", "narrative", *SINGLE)
SMOOTHING = 10.0  # weight of the base rate, in complaints
MIN_TEXTS = 20


def baselines(earlier: pd.DataFrame, test: pd.DataFrame) -> dict[str, Numbers]:
    """Predict the test rows by base rate, company rate, and scikit-learn's logistic regression.

    Args:
        earlier: `COLUMNS` of complaints before the test set.
        test: the same columns of the complaints to evaluate on.
    """
    rate = float(earlier["label"].mean())
    return {
        "base_rate": np.full(len(test), rate),
        "company_rate": _company_rate(earlier, test, rate),
        "scikit_learn": _scikit_learn(earlier, test),
    }


def _company_rate(earlier: pd.DataFrame, test: pd.DataFrame, rate: float) -> Numbers:
    totals = earlier.groupby("company")["label"].agg(["sum", "count"])
    smoothed = (totals["sum"] + SMOOTHING * rate) / (totals["count"] + SMOOTHING)
    return np.asarray(test["company"].map(smoothed).fillna(rate), dtype=float)


def _scikit_learn(earlier: pd.DataFrame, test: pd.DataFrame) -> Numbers:
    """Logistic regression with default settings on TF-IDF of the narrative and one-hot categories."""
    columns = list(SINGLE)
    encoder = OneHotEncoder(handle_unknown="ignore")
    blocks: list[tuple[Any, Any]] = [
        (encoder.fit_transform(_values(earlier[columns])), encoder.transform(_values(test[columns])))
    ]
    if earlier["narrative"].notna().sum() >= MIN_TEXTS:
        vectors = TfidfVectorizer(min_df=2)
        texts = [frame["narrative"].fillna("") for frame in (earlier, test)]
        blocks.append((vectors.fit_transform(texts[0]), vectors.transform(texts[1])))
    train_matrix, test_matrix = (hstack(parts).tocsr() for parts in zip(*blocks, strict=True))
    fitted = LogisticRegression(max_iter=1000).fit(train_matrix, earlier["label"])
    return np.asarray(fitted.predict_proba(test_matrix)[:, 1], dtype=float)


def _values(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).where(frame.notna(), NOT_GIVEN).astype(str)
