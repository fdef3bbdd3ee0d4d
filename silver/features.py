"""Date and text features of a complaint, from intake fields only.

Reads typed complaints (`date_received`, `narrative`); adds the columns of `silver.tables.FEATURES`. Grain unchanged.
The CFPB's redactions are data, not words: XXXX runs and {$1,234.00} amounts are counted here; ml removes them from the
text.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Possessive (the second plus): a plain repeated group recurses once per repetition, and a long run of XXXX would
# overflow the stack, which ends the whole Java process.
REDACTION = r"X{2,}+(?:[/ -]X{2,}+)*+"
AMOUNT = r"\{\$([0-9,]{0,20}\.?[0-9]{0,20})\}"  # with more digits a double would become infinity


def with_date_features(complaints: DataFrame) -> DataFrame:
    """Add year, month, weekday (1 = Sunday) and is_weekend of `date_received`."""
    weekday = F.dayofweek("date_received")
    return complaints.withColumns(
        {
            "received_year": F.year("date_received"),
            "received_month": F.month("date_received"),
            "received_weekday": weekday,
            "is_weekend": weekday.isin(1, 7),
        }
    )


def with_narrative_features(complaints: DataFrame) -> DataFrame:
    """Add the `narrative` features: length, words, redactions, amounts, capitals, marks; zero without one."""
    text = F.coalesce("narrative", F.lit(""))
    return (
        complaints.withColumn("_bare", F.regexp_replace(text, REDACTION, ""))
        .withColumn("_amounts", _dollars(text))
        .withColumns(
            {
                "has_narrative": F.col("narrative").isNotNull(),
                "narrative_chars": F.length(text),
                "narrative_words": F.when(F.length(text) > 0, F.regexp_count(text, F.lit(r"\S+"))).otherwise(0),
                "redactions": F.regexp_count(text, F.lit(REDACTION)),
                "redacted_share": _share(F.length(text) - F.length("_bare"), F.length(text)),
                "amounts": F.size("_amounts"),
                "largest_amount": F.coalesce(F.array_max("_amounts"), F.lit(0.0)),
                "capitals_share": _share(_count_of("_bare", "[^A-Z]"), _count_of("_bare", "[^A-Za-z]")),
                "exclamations": _count_of("_bare", "[^!]"),
                "questions": _count_of("_bare", "[^?]"),
            }
        )
        .drop("_bare", "_amounts")
    )


def _dollars(text: Column) -> Column:
    found = F.regexp_extract_all(text, F.lit(AMOUNT), 1)
    return F.filter(
        F.transform(found, lambda amount: F.regexp_replace(amount, ",", "").cast("double")),
        lambda dollars: dollars.isNotNull(),
    )


def _count_of(column: str, all_but: str) -> Column:
    return F.length(F.regexp_replace(column, all_but, ""))


def _share(part: Column, whole: Column) -> Column:
    return F.when(whole > 0, part / whole).otherwise(0.0)
