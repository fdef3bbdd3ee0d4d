"""Parse bronze payloads into the 18 fields: raw text under one name each, and typed values.

Reads rows of bronze.complaints. Adds `oversized`, `text`, `followed`, `keys`, `raw` and `typed`; drops no rows. Grain:
one bronze row.
"""

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.fields import FIELDS, MISSING, Field
from silver.wrapping import (
    ID_KEYS,
    INVISIBLE,
    entries_of,
    is_single_value,
    json_text,
    normalized_key,
    unwrapped,
    without_types,
)

TRUE = ("yes", "true", "y", "t", "1", "1.0")  # the last ones as databases and data frames write them
FALSE = ("no", "false", "n", "f", "0", "0.0")

BLANKS = f" \t\r\n{INVISIBLE}"
# What Spark makes of the numbers NaN and Infinity of a JSON value, which are no text.
_NOT_A_NUMBER = ('"nan"', '"infinity"', '"-infinity"')

MAX_PAYLOAD_BYTES = 1 << 20  # fits a narrative of 100,000 characters, even if each is written as an escape
OVERSIZED_SHOWN = 1_000  # characters of a larger payload that are passed on to quarantine

_ID = r"^\d{1,18}$"
# As spreadsheets and data frames write whole numbers, and people write ids.
_ID_OF_TABLES = r"""^(=?["'])?#?(\d{1,18}|\d{1,3}(,\d{3}){1,5})(\.0*)?["']?$"""
# As Java and Spark write a double, which is every digit of it. A spreadsheet writes 7.1E+06, with digits left out.
_ID_OF_DOUBLES = r"^\d\.\d{1,14}E(\d|1[0-7])$"

_US_DATE = r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?:,? .*)?$"
_SHORT_US_DATE = r"^(\d{1,2})[/-](\d{1,2})[/-](\d{2})(?:,? .*)?$"
_ISO_DATE = r"^\d{4}-\d{1,2}-\d{1,2}(?:[T ].*)?$"
_YEAR_FIRST = r"^(20\d\d)(?:(\d\d)(\d\d)|/(\d\d?)/(\d\d?))(?:[T ].*)?$"  # without dashes
_EPOCH = r"^1\d{9}(?:\d{3})?$"  # seconds or milliseconds, as pandas writes dates to JSON; from 2001 to 2033
_EPOCH_DIGITS = 13  # of milliseconds
_DAY_MS = 24 * 60 * 60 * 1000
_SPREADSHEET_DAY = r"^4\d{4}(?:\.\d*)?$"  # days since 1899-12-30; from 2009 to 2036
_SPREADSHEET_EPOCH = 25_569  # 1970-01-01 as such a day

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = rf"((?i:{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)}|sept))\.?"
_DAY_FIRST = rf"^(\d\d?)[- ]?{_MONTH}[-, ]*(\d{{4}}|\d\d)(?:[ :].*)?$"  # 25-May-13, 25 May 2013, 25MAY2013:00:00:00
_MONTH_FIRST = rf"^{_MONTH} (\d\d?),? (\d{{4}})(?: .*)?$"  # May 25, 2013
_NAMED_MONTH = rf"{_DAY_FIRST}|{_MONTH_FIRST}"


def parsed(bronze: DataFrame) -> DataFrame:
    """Add `oversized`, `text`, `followed`, `keys`, `raw` and `typed` to bronze rows; all their columns stay.

    `oversized`: whether the payload exceeds `MAX_PAYLOAD_BYTES`. Such a payload is never parsed, so that one row can't
    use up a batch's memory: only its first `OVERSIZED_SHOWN` characters are passed on; text, keys and fields are null.
    `text`: the JSON text in the payload, without what is around it (`silver.wrapping`); null for other bytes.
    `followed`: whether anything but whitespace follows the JSON object; false when the text is not a JSON object.
    `keys`: array of the complaint's normalized keys in order, with repeats; null when the text is not a JSON object.
    `raw`: struct of the 18 fields as trimmed text; null when absent or a text that means so. A value that is itself an
    object or an array is returned as its JSON text.
    `typed`: struct of complaint_id, the two dates and the two booleans; null where the text can't be parsed.
    """
    keys = F.transform(F.map_keys("entries"), normalized_key)
    has_id = reduce(or_, (F.array_contains("keys", key) for key in ID_KEYS))
    return (
        bronze.transform(_with_size_limit)
        .withColumn("text", F.when(~F.col("oversized"), without_types(json_text())))
        .withColumn("entries", entries_of(F.col("text")))
        .withColumn("followed", F.col("entries").isNotNull() & ~is_single_value(F.col("text")))
        .withColumn("keys", keys)
        .withColumn("entries", _computed_once(F.when(has_id, F.col("entries")).otherwise(unwrapped(F.col("entries")))))
        .withColumns({"keys": F.when(has_id, F.col("keys")).otherwise(keys), "values": F.map_values("entries")})
        .withColumn("raw", F.struct(*(_raw(field).alias(field.name) for field in FIELDS)))
        .withColumn("typed", F.struct(*(_typed(field).alias(field.name) for field in FIELDS if field.type != "string")))
        .drop("entries", "values")
    )


def _with_size_limit(bronze: DataFrame) -> DataFrame:
    size = F.greatest(F.octet_length("payload"), F.octet_length("payload_bytes"))
    oversized = F.coalesce(size > MAX_PAYLOAD_BYTES, F.lit(col=False))
    shown = F.when(oversized, F.substring("payload", 1, OVERSIZED_SHOWN)).otherwise(F.col("payload"))
    return bronze.withColumns({"oversized": oversized, "payload": shown})


def _computed_once(column: Column) -> Column:
    """The same column, which Spark neither copies into the expressions that use it nor moves a filter below.

    Spark would put a filter on the rules' results below the parser, with every expression in it written out again for
    each use: planning it takes minutes and gigabytes. It moves nothing past an expression that depends on the
    partition.
    """
    return F.when(F.spark_partition_id() >= 0, column)


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
            digits, number = F.regexp_replace(text, r"""[="'#,]|\.0*["']?$""", ""), text.cast("double")
            return (
                F.when(text.rlike(_ID), text.cast("bigint"))
                .when(text.rlike(_ID_OF_TABLES), digits.cast("bigint"))
                .when(text.rlike(_ID_OF_DOUBLES) & (number == F.floor(number)), number.cast("bigint"))
            )
        case "date":
            return date_of(text)
        case _:
            answer = F.lower(text)
            return F.when(answer.isin(*TRUE), F.lit(col=True)).when(answer.isin(*FALSE), F.lit(col=False))


def date_of(text: Column) -> Column:
    """Parse text to a date: ISO dates and timestamps, and month/day/year as in the CFPB's older exports.

    Two-digit years are in this century (complaints start in 2011). A timestamp's own day is used, whatever its time
    zone: the CFPB's feed adds midday or a server's clock to what is a date. Year, month and day may also be separated
    by slashes or by nothing, a month may be an English name or its abbreviation, seconds or milliseconds since 1970 are
    a day in UTC, and 40000 to 49999 are a spreadsheet's days. Anything else, or an invalid day, is null.
    """
    iso = F.regexp_replace(F.regexp_replace(text, _US_DATE, "$3-$1-$2"), _SHORT_US_DATE, "20$3-$1-$2")
    other = F.regexp_replace(text, _YEAR_FIRST, "$1-$2$4-$3$5")
    days = F.floor(F.rpad(text, _EPOCH_DIGITS, "0").cast("bigint") / _DAY_MS).cast("int")
    return (
        F.when(iso.rlike(_ISO_DATE), iso.cast("date"))
        .when(text.rlike(_YEAR_FIRST), other.cast("date"))
        .when(text.rlike(_EPOCH), F.date_from_unix_date(days))
        .when(text.rlike(_SPREADSHEET_DAY), F.date_from_unix_date(text.cast("int") - _SPREADSHEET_EPOCH))
        .when(text.rlike(_NAMED_MONTH), _with_number_of_month(text))
    )


def _with_number_of_month(text: Column) -> Column:
    spaced = F.regexp_replace(F.regexp_replace(text, _DAY_FIRST, "$3 $2 $1"), _MONTH_FIRST, "$3 $1 $2")
    year, month, day = (F.get(F.split(spaced, " "), F.lit(index)) for index in range(3))
    number = F.call_function("array_position", F.lit([name[:3] for name in _MONTHS]), F.lower(F.substring(month, 1, 3)))
    return F.concat_ws("-", F.lpad(year, 4, "20"), number, day).cast("date")
