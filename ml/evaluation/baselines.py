"""Three plain ways to the same probability, fitted on the same earlier complaints and judged on the same rows.

Works on pandas frames on the driver. A model that does not beat these is not worth its running.
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

MOST_ROWS = 50_000  # the latest, that scikit-learn and the driver can take
COLUMNS = ("label", "narrative", *SINGLE)
SMOOTHING = 10.0  # complaints' worth of the base rate
FEWEST_TEXTS = 20


def baselines(earlier: pd.DataFrame, test: pd.DataFrame) -> dict[str, Numbers]:
    """Probabilities of the test rows by the base rate, the company's rate, and scikit-learn's logistic regression.

    Args:
        earlier: `COLUMNS` of complaints before the test part.
        test: the same columns of the complaints to judge by.
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
    """Logistic regression with its defaults on TF-IDF of the narrative and one-hot categories."""
    columns = list(SINGLE)
    encoder = OneHotEncoder(handle_unknown="ignore")
    blocks: list[tuple[Any, Any]] = [
        (encoder.fit_transform(_values(earlier[columns])), encoder.transform(_values(test[columns])))
    ]
    if earlier["narrative"].notna().sum() >= FEWEST_TEXTS:
        vectors = TfidfVectorizer(min_df=2)
        texts = [frame["narrative"].fillna("") for frame in (earlier, test)]
        blocks.append((vectors.fit_transform(texts[0]), vectors.transform(texts[1])))
    known, asked = (hstack(parts).tocsr() for parts in zip(*blocks, strict=True))
    fitted = LogisticRegression(max_iter=1000).fit(known, earlier["label"])
    return np.asarray(fitted.predict_proba(asked)[:, 1], dtype=float)


def _values(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).where(frame.notna(), NOT_GIVEN).astype(str)
