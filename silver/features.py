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
        complaints.withColumn(
            "_bare", F.when(_is_redacted(text), F.regexp_replace(text, REDACTION, "")).otherwise(text)
        )
        .withColumn("_letters", F.regexp_replace("_bare", "[^A-Za-z]+", ""))
        .withColumn("_amounts", _dollars(text))
        .withColumns(
            {
                "has_narrative": F.col("narrative").isNotNull(),
                "narrative_chars": F.length(text),
                "narrative_words": F.when(F.length(text) > 0, F.regexp_count(text, F.lit(r"\S+"))).otherwise(0),
                "redactions": F.when(_is_redacted(text), F.regexp_count(text, F.lit(REDACTION))).otherwise(0),
                "redacted_share": _share(F.length(text) - F.length("_bare"), F.length(text)),
                "amounts": F.size("_amounts"),
                "largest_amount": F.coalesce(F.array_max("_amounts"), F.lit(0.0)),
                "capitals_share": _share(_length_without("_letters", "[^A-Z]+"), F.length("_letters")),
                "exclamations": _count_of("_bare", "!"),
                "questions": _count_of("_bare", "?"),
            }
        )
        .drop("_bare", "_letters", "_amounts")
    )


def _is_redacted(text: Column) -> Column:
    """Whether there may be a redaction: much faster than a regular expression on texts that have none."""
    return F.contains(text, F.lit("XX"))


def _dollars(text: Column) -> Column:
    found = F.regexp_extract_all(F.when(F.contains(text, F.lit("{$")), text), F.lit(AMOUNT), 1)
    dollars = F.filter(
        F.transform(found, lambda amount: F.regexp_replace(amount, ",", "").cast("double")),
        lambda dollars: dollars.isNotNull(),
    )
    return F.coalesce(dollars, F.array().cast("array<double>"))


def _length_without(column: str, pattern: str) -> Column:
    """The length of a text without what matches; few long matches are much faster than one per character."""
    return F.length(F.regexp_replace(column, pattern, ""))


def _count_of(column: str, character: str) -> Column:
    return F.length(column) - F.length(F.replace(F.col(column), F.lit(character), F.lit("")))


def _share(part: Column, whole: Column) -> Column:
    return F.when(whole > 0, part / whole).otherwise(0.0)
