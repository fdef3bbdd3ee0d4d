"""What the evaluation computes agrees with scipy and scikit-learn on the same rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from scipy.stats.contingency import association, crosstab
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from complaints.explore import print_exploration
from ml.evaluation import importance
from ml.evaluation.baselines import SMOOTHING, baselines
from ml.evaluation.exploration import Exploration, profiled
from ml.evaluation.groups import MIN_ROWS, RANKING, by_group
from ml.features.pipeline import COUNTS, FLAGS, NOT_GIVEN, SHARES, SINGLE
from ml.metrics import MEASURES

ROWS = 600
PRODUCTS = ("Mortgage", "Credit card", "Debt collection")
COMPANIES = ("ACME", "EQUIFAX, INC.", "Experian Information Solutions", "Northwind")
WORDS = ("fee", "late", "refund", "dispute", "loan", "never", "answered")


@pytest.fixture(scope="module")
def complaints() -> pd.DataFrame:
    """Complaints whose outcome depends on product, company and length, and on nothing else."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame({name: random.integers(0, 4, ROWS).astype(str) for name in SINGLE}).astype(object)
    frame["product"] = random.choice(PRODUCTS, ROWS)
    frame["company"] = random.choice(COMPANIES, ROWS)
    frame["submitted_via"] = random.choice(["Web", "Phone"], ROWS)
    frame["state"] = random.choice(["NY", "TX", "PR"], ROWS)
    frame.loc[frame.index % 5 == 0, "sub_issue"] = None
    for name in FLAGS:
        frame[name] = random.random(ROWS) < 0.4
    for name in (*COUNTS, *SHARES):
        frame[name] = np.where(frame["has_narrative"], random.integers(1, 200, ROWS), 0)
    frame["amounts"] = np.where(frame["has_narrative"], random.integers(0, 2, ROWS), 0)
    frame["largest_amount"] = frame["amounts"] * random.integers(1, 9, ROWS)
    frame["narrative"] = [" ".join(random.choice(WORDS, 6)) if written else None for written in frame["has_narrative"]]
    logit = 1.5 * (frame["product"] == "Mortgage") - (frame["company"] == "ACME") + frame["narrative_words"] / 100
    frame["label"] = (random.random(ROWS) < 1 / (1 + np.exp(0.5 - logit))).astype(float)
    frame["probability"] = np.clip(0.7 / (1 + np.exp(0.5 - logit)) + random.normal(0, 0.1, ROWS), 0.01, 0.99)
    frame["monetary"] = np.where(random.random(ROWS) < 0.5, frame["label"], 0.0)
    return frame.assign(source="0123abcd:some.csv", feed="some.csv", scored_with="structure")


@pytest.fixture(scope="module")
def explored(complaints: pd.DataFrame) -> Exploration:
    return profiled(complaints, {"answers": {}})


@pytest.mark.parametrize("name", SINGLE)
def test_chi_square_is_pearsons_and_cramers_v_is_scipys(
    complaints: pd.DataFrame, explored: Exploration, name: str
) -> None:
    found = next(category for category in explored.categories if category.feature == name)
    observed = crosstab(complaints[name].fillna(NOT_GIVEN), complaints["label"]).count
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / observed.sum()
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert found.p_value == pytest.approx(chi2.sf(statistic, (observed.shape[0] - 1) * (observed.shape[1] - 1)))
    assert found.cramers_v == pytest.approx(association(observed, method="cramer"))
    assert found.is_significant is (name in {"product", "company"})


def test_a_category_of_two_values_is_not_corrected_for_continuity(explored: Exploration) -> None:
    found = next(category for category in explored.categories if category.feature == "submitted_via")
    assert found.distinct == 2
    assert found.cramers_v is not None
    assert 0 < found.cramers_v < 0.2


def test_missing_are_the_numbers_of_narratives_that_there_are_not(
    complaints: pd.DataFrame, explored: Exploration
) -> None:
    numbers = {number.feature: number for number in explored.numbers}
    written = complaints[complaints["has_narrative"]]
    assert {numbers[name].missing for name in FLAGS} == {0.0}
    assert numbers["narrative_words"].missing == pytest.approx(1 - len(written) / ROWS)
    assert numbers["narrative_words"].mean == pytest.approx(written["narrative_words"].mean())
    assert numbers["narrative_words"].quartiles[1] == written["narrative_words"].median()
    with_amount = written[written["amounts"] > 0]
    assert numbers["largest_amount"].missing == pytest.approx(1 - len(with_amount) / ROWS)
    assert numbers["largest_amount"].minimum == with_amount["largest_amount"].min() > 0


def test_correlations_are_numpys_over_the_complaints_that_have_both_numbers(
    complaints: pd.DataFrame, explored: Exploration
) -> None:
    written = complaints[complaints["has_narrative"]]
    expected = np.corrcoef(written["narrative_words"], written["label"])[0, 1]
    assert explored.correlations["narrative_words"]["label"] == pytest.approx(expected)
    assert explored.strong_correlations == []
    same = profiled(complaints.assign(redactions=complaints["narrative_words"] * 2), {})
    ((one, other, value),) = same.strong_correlations
    assert (one, other, round(value, 6)) == ("narrative_words", "redactions", 1.0)


def test_without_a_narrative_its_numbers_are_missing_altogether(complaints: pd.DataFrame) -> None:
    found = profiled(complaints.assign(has_narrative=False), {})
    words = next(number for number in found.numbers if number.feature == "narrative_words")
    assert words.missing == 1.0
    assert np.isnan(words.mean)


def test_the_terminal_shows_missing_values_correlations_and_significance(
    complaints: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    print_exploration(profiled(complaints.assign(redactions=complaints["narrative_words"] * 100), {}))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    written, label = complaints[complaints["has_narrative"]]["narrative_words"], complaints["label"]
    words = next(line for line in lines if line[:1] == ["narrative_words"])
    assert words[1] == f"{1 - len(written) / ROWS:.1%}"
    assert words[-1] == f"{written.corr(label):+.3f}"
    assert ["correlation", "of", "narrative_words", "and", "redactions:", "+1.000"] in lines
    significant = {line[0] for line in lines if line[-1:] == ["yes"]}
    assert significant == {"product", "company"}
    assert "e+" not in str(lines)


def test_the_metrics_of_a_group_are_scikit_learns(complaints: pd.DataFrame) -> None:
    model, other = complaints["probability"].to_numpy(), complaints["narrative_words"].to_numpy() / 1000
    found = by_group(complaints, {"model": model, "scikit_learn": other}, 0.5, seed=1)
    assert found["product"].keys() == set(PRODUCTS)
    assert found["company"].keys() == {"credit bureaus", "others than the credit bureaus"}
    bureaus = complaints["company"].str.contains("EQUIFAX|Experian")
    inside = {("product", "Mortgage"): complaints["product"] == "Mortgage", ("company", "credit bureaus"): bureaus}
    inside |= {("state_group", "South"): complaints["state"] == "TX"}
    for (column, group), rows in inside.items():
        label, metrics = complaints.loc[rows, "label"], found[column][group]
        assert metrics["rows"] == rows.sum() >= MIN_ROWS
        assert metrics["base_rate"] == pytest.approx(label.mean())
        assert metrics["auc_roc"] == pytest.approx(roc_auc_score(label, model[rows]))
        assert metrics["auc_pr"] == pytest.approx(average_precision_score(label, model[rows]))
        assert metrics["log_loss"] == pytest.approx(log_loss(label, model[rows]))
        assert metrics["brier"] == pytest.approx(brier_score_loss(label, model[rows]))
        assert metrics["scikit_learn_auc_roc"] == pytest.approx(roc_auc_score(label, other[rows]))


def test_for_monetary_relief_only_the_order_of_the_probabilities_is_judged(complaints: pd.DataFrame) -> None:
    model = complaints["probability"].to_numpy()
    (metrics,) = by_group(complaints, {"model": model}, 0.5, seed=1)["outcome"].values()
    assert metrics["auc_roc"] == pytest.approx(roc_auc_score(complaints["monetary"], model))
    assert metrics["auc_pr"] == pytest.approx(average_precision_score(complaints["monetary"], model))
    assert {metrics[name] for name in MEASURES if name not in RANKING} == {None}


def test_the_baselines_are_scikit_learns(complaints: pd.DataFrame) -> None:
    earlier, test = complaints.iloc[:400], complaints.iloc[400:].reset_index(drop=True)
    test.loc[0, "company"] = "Unseen"
    found = baselines(earlier, test)
    constant = DummyClassifier(strategy="prior").fit(earlier[["label"]], earlier["label"])
    assert found["base_rate"] == pytest.approx(constant.predict_proba(test[["label"]])[:, 1])

    rate, own = earlier["label"].mean(), earlier.loc[earlier["company"] == "ACME", "label"]
    smoothed = (own.sum() + SMOOTHING * rate) / (len(own) + SMOOTHING)
    assert found["company_rate"][0] == pytest.approx(rate)
    assert found["company_rate"][test["company"] == "ACME"] == pytest.approx(smoothed)

    def filled(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[[*SINGLE, "narrative"]].fillna({**dict.fromkeys(SINGLE, NOT_GIVEN), "narrative": ""})

    columns: list[tuple[str, Any, Any]] = [("categories", OneHotEncoder(handle_unknown="ignore"), list(SINGLE))]
    columns += [("text", TfidfVectorizer(min_df=2), "narrative")]
    pipeline = make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1000))
    expected = pipeline.fit(filled(earlier), earlier["label"]).predict_proba(filled(test))[:, 1]
    assert found["scikit_learn"] == pytest.approx(expected, abs=1e-4)


def test_importance_is_scikit_learns_permutation_importance(
    complaints: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = pd.get_dummies(
        complaints[["narrative_words", "has_narrative"]].assign(noise=complaints["redactions"] % 7)
    )
    features = (features.astype(float) - features.mean()) / features.std()
    label = complaints["label"].to_numpy()
    fitted = LogisticRegression().fit(features, label)
    monkeypatch.setattr(importance, "SHUFFLES", 100)
    found = {one.feature: one for one in importance.importances(features * fitted.coef_[0], label, seed=1)}
    expected = permutation_importance(fitted, features, label, scoring="roc_auc", n_repeats=100, random_state=2)
    assert [found[name].auc_loss for name in features] == pytest.approx(expected.importances_mean, abs=0.01)
    assert max(found, key=lambda name: found[name].auc_loss) == "narrative_words"
    assert found["narrative_words"].auc_loss > 0.03
    spreads = np.abs(fitted.coef_[0]) * features.std(ddof=0)
    assert [found[name].spread for name in features] == pytest.approx(spreads)
