"""Features match counts made by hand and by Python, and are numbers even without a narrative."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from pyspark.sql import DataFrame

from silver.features import with_date_features, with_narrative_features
from silver.tables import FEATURES

Frame = Callable[[list[dict[str, Any]], str], DataFrame]
DATA = Path(__file__).resolve().parents[1] / "data"
SCHEMA = "place int, narrative string"
NAMES = [column.name for column in FEATURES if not column.name.startswith(("received", "is_weekend"))]


def features(frame: Frame, narratives: list[str | None]) -> list[dict[str, Any]]:
    records = [{"place": place, "narrative": narrative} for place, narrative in enumerate(narratives)]
    rows = frame(records, SCHEMA).transform(with_narrative_features).orderBy("place").select(NAMES).collect()
    return [row.asDict() for row in rows]


def real_narratives() -> list[str]:
    with (DATA / "2017-snake-case.csv").open(encoding="utf-8", newline="") as file:
        snake = [row["consumer_complaint_narrative"] for row in csv.DictReader(file)]
    array = json.loads((DATA / "2015-narratives.json").read_text(encoding="utf-8"))
    return [text for text in [*snake, *(row["Consumer complaint narrative"] for row in array)] if text]


def test_features_of_a_real_narrative_match_a_hand_count(frame: Frame) -> None:
    refinance = next(text for text in real_narratives() if text.startswith("Started the refinance of home mortgage"))
    (found,) = features(frame, [refinance])
    assert found | {"redacted_share": 0, "capitals_share": 0} == {
        "has_narrative": True,
        "narrative_chars": 700,
        "narrative_words": 112,
        "redactions": 2,  # XX/XX/2016, and the lender's name
        "redacted_share": 0,
        "amounts": 4,
        "largest_amount": 30000.0,
        "capitals_share": 0,
        "exclamations": 0,
        "questions": 0,
    }
    assert found["redacted_share"] == (5 + 4) / 700  # XX/XX and XXXX
    assert 0.01 < found["capitals_share"] < 0.03


def test_features_of_small_texts_match_a_hand_count(frame: Frame) -> None:
    texts = {
        "PAY ME {$1,234.50}! Or {$.99}? XXXX XXXX, on XX/XX/XXXX!!": {
            "narrative_words": 9,
            "redactions": 2,
            "amounts": 2,
            "largest_amount": 1234.5,
            "exclamations": 3,
            "questions": 1,
            "capitals_share": 6 / 9,
            "redacted_share": (9 + 10) / 57,
        },
        "X marks {$} {$.} {1.00} $5": {"redactions": 0, "amounts": 0, "largest_amount": 0.0, "capitals_share": 1 / 6},
        "{$" + "9" * 400 + ".00}": {"amounts": 0, "largest_amount": 0.0},
        "XXXX": {"redacted_share": 1.0, "capitals_share": 0.0, "narrative_words": 1},
        "ÄÖ 漢字 🙂": {"narrative_chars": 7, "narrative_words": 3, "capitals_share": 0.0},
    }
    for (text, expected), found in zip(texts.items(), features(frame, list(texts)), strict=True):
        assert {name: found[name] for name in expected} == expected, text[:40]


def test_without_a_narrative_every_feature_is_zero_and_none_is_null(frame: Frame) -> None:
    (found,) = features(frame, [None])
    assert found == {**dict.fromkeys(NAMES, 0), "has_narrative": False}


def test_a_narrative_of_only_redactions_does_not_overflow_the_stack(frame: Frame) -> None:
    (found,) = features(frame, ["XXXX " * 20_000])
    assert (found["redactions"], found["narrative_words"]) == (1, 20_000)


def test_date_features_are_year_month_weekday_and_weekend(frame: Frame) -> None:
    days = [{"date_received": day} for day in ("2024-05-03", "2024-05-04", "2024-05-05", None)]
    rows = frame(days, "date_received date").transform(with_date_features).orderBy("date_received").collect()
    names = ("received_year", "received_month", "received_weekday", "is_weekend")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (None, None, None, None),
        (2024, 5, 6, False),
        (2024, 5, 7, True),
        (2024, 5, 1, True),
    ]


def counted(text: str) -> dict[str, Any]:
    """The features, computed in Python."""
    redactions = re.findall(r"X{2,}(?:[/ -]X{2,})*", text)
    bare = re.sub(r"X{2,}(?:[/ -]X{2,})*", "", text)
    letters, capitals = re.findall("[A-Za-z]", bare), re.findall("[A-Z]", bare)
    dollars = [found.replace(",", "") for found in re.findall(r"\{\$([0-9,]*\.?[0-9]*)\}", text)]
    amounts = [float(found) for found in dollars if re.search("[0-9]", found)]
    return {
        "has_narrative": True,
        "narrative_chars": len(text),
        "narrative_words": len(re.findall(r"\S+", text, re.ASCII)),
        "redactions": len(redactions),
        "redacted_share": sum(map(len, redactions)) / len(text) if text else 0.0,
        "amounts": len(amounts),
        "largest_amount": max(amounts, default=0.0),
        "capitals_share": len(capitals) / len(letters) if letters else 0.0,
        "exclamations": bare.count("!"),
        "questions": bare.count("?"),
    }


PIECES = st.sampled_from(["XX", "XXXX", "X", "/", "-", " ", "{$", "1,0", "00.", "5}", "!", "?", "A", "bc", "\n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.lists(PIECES, max_size=25).map("".join)


def test_features_of_any_text_match_python_and_shares_are_between_0_and_1(
    frame: Frame, generated: Callable[[st.SearchStrategy[str], int], list[str]]
) -> None:
    texts = [*generated(TEXTS, 500), *real_narratives()]
    for text, found in zip(texts, features(frame, list(texts)), strict=True):
        assert found == counted(text), repr(text)
        assert 0 <= found["redacted_share"] <= 1
        assert 0 <= found["capitals_share"] <= 1
