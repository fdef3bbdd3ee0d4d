"""Parse bronze payloads into the 18 fields: raw text under one name each, and typed values.

Reads rows of bronze.complaints. Adds `oversized`, `followed`, `keys`, `raw` and `typed`; drops no rows. Grain: one
bronze row.
"""

import string
from uuid import uuid4

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.fields import FIELDS, MISSING, Field

TRUE = ("yes", "true", "y", "1")
FALSE = ("no", "false", "n", "0")

PUNCTUATION = string.punctuation + string.whitespace + "\u00a0"
BLANKS = " \t\r\n\u00a0"
# What Spark makes of the numbers NaN and Infinity of a JSON value, which are no text.
_NOT_A_NUMBER = ('"nan"', '"infinity"', '"-infinity"')

MAX_PAYLOAD_BYTES = 1 << 20  # fits a narrative of 100,000 characters, even if each is written as an escape
_END = f"end-{uuid4().hex}"  # a key that no payload has
OVERSIZED_SHOWN = 1_000  # characters of a larger payload that are passed on to quarantine

_ID = r"^\d{1,18}$"
_ID_OF_TABLES = r"^'?(\d{1,18}|\d{1,3}(,\d{3}){1,5})(\.0*)?$"  # as spreadsheets and data frames write whole numbers

_US_DATE = r"^(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?$"
_SHORT_US_DATE = r"^(\d{1,2})/(\d{1,2})/(\d{2})(?: .*)?$"
_ISO_DATE = r"^\d{4}-\d{1,2}-\d{1,2}(?:[T ].*)?$"


def parsed(bronze: DataFrame) -> DataFrame:
    """Add `oversized`, `followed`, `keys`, `raw` and `typed` to bronze rows; all their columns stay.

    `oversized`: whether the payload exceeds `MAX_PAYLOAD_BYTES`. Such a payload is never parsed, so that one row can't
    use up a batch's memory: only its first `OVERSIZED_SHOWN` characters are passed on, and keys and fields are null.
    `followed`: whether anything but whitespace follows the JSON object; false when the payload is not a JSON object.
    `keys`: array of the payload's normalized keys in order, with repeats; null when the payload is not a JSON object.
    `raw`: struct of the 18 fields as trimmed text; null when absent or a text that means so. A value that is itself an
    object or an array is returned as its JSON text.
    `typed`: struct of complaint_id, the two dates and the two booleans; null where the text can't be parsed.
    """
    readable = F.when(~F.col("oversized"), F.col("payload"))
    entries = F.from_json(readable, "map<string,string>")
    keys = F.transform(F.map_keys("entries"), lambda key: F.translate(F.lower(key), PUNCTUATION, ""))
    values = F.map_values("entries")
    return (
        bronze.transform(_with_size_limit)
        .withColumn("entries", entries)
        .withColumns({"keys": keys, "values": values})
        .withColumn("followed", F.col("entries").isNotNull() & ~_is_single_value(readable))
        .withColumn("raw", F.struct(*(_raw(field).alias(field.name) for field in FIELDS)))
        .withColumn("typed", F.struct(*(_typed(field).alias(field.name) for field in FIELDS if field.type != "string")))
        .drop("entries", "values")
    )


def _with_size_limit(bronze: DataFrame) -> DataFrame:
    oversized = F.coalesce(F.octet_length("payload") > MAX_PAYLOAD_BYTES, F.lit(col=False))
    shown = F.when(oversized, F.substring("payload", 1, OVERSIZED_SHOWN)).otherwise(F.col("payload"))
    return bronze.withColumns({"oversized": oversized, "payload": shown})


def _is_single_value(payload: Column) -> Column:
    """Whether the payload is a single JSON value.

    It is if a marker key after it, in an enclosing object, stays readable. Spark alone parses one value and ignores the
    rest of the text, so a second object would be lost silently.
    """
    whole = F.concat(F.lit('{"payload": '), payload, F.lit(f', "{_END}": "here"}}'))
    return F.from_json(whole, f"struct<`{_END}`: string>").getField(_END).isNotNull()


def _raw(field: Field) -> Column:
    found = F.coalesce(*(F.get("values", (F.array_position("keys", key) - 1).cast("int")) for key in field.keys))
    text = F.btrim(found, F.lit(BLANKS))
    missing = (*MISSING, *_NOT_A_NUMBER)
    may_be = F.octet_length(text) <= max(map(len, missing))  # so that long texts are not put in lower case
    return F.when(may_be & F.lower(text).isin(*missing), F.lit(None)).otherwise(text)


def _typed(field: Field) -> Column:
    text = F.col(f"raw.{field.name}")
    match field.type:
        case "bigint":
            digits = F.regexp_replace(text, r"'|,|\.0*$", "")
            return F.when(text.rlike(_ID), text.cast("bigint")).when(text.rlike(_ID_OF_TABLES), digits.cast("bigint"))
        case "date":
            return date_of(text)
        case _:
            answer = F.lower(text)
            return F.when(answer.isin(*TRUE), F.lit(col=True)).when(answer.isin(*FALSE), F.lit(col=False))


def date_of(text: Column) -> Column:
    """Parse text to a date: ISO dates and timestamps, and month/day/year as in the CFPB's older exports.

    Two-digit years are in this century (complaints start in 2011). A timestamp's own day is used, whatever its time
    zone: the CFPB's feed adds midday or a server's clock to what is a date. Anything else, or an invalid day, is null.
    """
    iso = F.regexp_replace(F.regexp_replace(text, _US_DATE, "$3-$1-$2"), _SHORT_US_DATE, "20$3-$1-$2")
    return F.when(iso.rlike(_ISO_DATE), iso.cast("date"))
