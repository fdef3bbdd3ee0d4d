"""Find the JSON object of a complaint in a payload that producers or tools have wrapped.

Reads bronze rows. Nearly every payload is the object itself, which two comparisons show; the rest of this module is
evaluated only for the others. One row in, one row out.
"""

import string
from functools import reduce
from operator import or_
from uuid import uuid4

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.fields import BY_NAME

INVISIBLE = "\u00a0\u200b\ufeff"  # no-break space, zero-width space, byte order mark
_BROKEN_MARK = "\u00ef\u00bb\u00bf"  # a byte order mark whose bytes were read as Latin-1
_AROUND = f"{INVISIBLE}{_BROKEN_MARK}\0 \t\r\n"
_IGNORED_IN_KEYS = string.punctuation + string.whitespace + INVISIBLE + _BROKEN_MARK

# How UTF-16 begins: with a byte order mark, or without one as a JSON object.
_UTF16 = {"UTF-16LE": (b"\xff\xfe", b"{\0"), "UTF-16BE": (b"\xfe\xff", b"\0{")}
_PREFIX = 5  # bytes that a schema registry's serializer writes first: a zero byte and the schema's id

# The keys of objects that hold a complaint: Kafka Connect's JSON converter, Debezium, CloudEvents.
ENVELOPES = ("payload", "after", "data")

_OPTIONS = {"allowUnquotedControlChars": "true"}  # a raw tab or line break in a text can mean only itself
_END = f"end-{uuid4().hex}"  # a key that no payload has


def normalized_key(key: Column) -> Column:
    """A key of a payload in lower case, without punctuation, spaces and invisible characters."""
    return F.translate(F.lower(key), _IGNORED_IN_KEYS, "")


def entries_of(text: Column) -> Column:
    """The keys and values of a JSON object, each value as text; null when the text does not begin with an object."""
    return F.from_json(text, "map<string,string>", _OPTIONS)


def with_text(rows: DataFrame) -> DataFrame:
    """Add `text` to bronze rows: the JSON text of the payload, without what is around it.

    Left out are byte order marks, NUL padding at the end, and a schema registry's prefix before an object. UTF-16 is
    decoded. Of a JSON string with an object's text, and of an array with a single object, the object is returned. Null
    for bytes that are none of these, and for rows that are `oversized`.
    """
    begins, ends = F.startswith("payload", F.lit("{")), F.endswith("payload", F.lit("}"))
    is_plain = F.coalesce(begins & ends, F.lit(col=False)) | F.col("oversized")
    data = F.coalesce("payload_bytes", F.encode("payload", "UTF-8"))
    plain = F.when(~F.col("oversized"), F.col("payload"))
    # Each step is a column, because an expression that is used twice in another would be evaluated twice.
    return (
        rows.withColumn("data", F.when(~is_plain, data))
        .withColumn("text", F.when(is_plain, plain).otherwise(F.btrim(_decoded(), F.lit(_AROUND))))
        .transform(_with_inside)
        .drop("data")
    )


def _decoded() -> Column:
    """The text in the column `data`."""
    data = F.col("data")
    after_prefix = F.substring(data, _PREFIX + 1, 2**31 - 1)
    has_prefix = _begins(data, b"\0") & _begins(after_prefix, b"{")
    readings = [F.when(has_prefix, _as_text(after_prefix, "UTF-8"))]
    for charset, (mark, opening) in _UTF16.items():
        readings.append(F.when(_begins(data, mark) | _begins(data, opening), _as_text(data, charset)))
    return F.coalesce(*readings, "payload")


def _begins(data: Column, beginning: bytes) -> Column:
    return F.startswith(data, F.lit(bytearray(beginning)))


def _as_text(data: Column, charset: str) -> Column:
    """Bytes as text; null when some of them are no character, which Spark would replace silently."""
    text = F.decode(data, charset)
    return F.when(F.encode(text, charset) == data, text)


def _with_inside(rows: DataFrame) -> DataFrame:
    """Replace `text` by the object in it, if it is a JSON string or an array of one element."""
    starts = F.startswith("text", F.lit('"')) | F.startswith("text", F.lit("["))
    value = _enclosed(F.when(starts, F.col("text")), "payload: string, ")
    inside = F.when(F.col("value").getField(_END).isNotNull(), F.col("value.payload"))
    elements = F.from_json(F.when(F.startswith("inside", F.lit("[")), F.col("inside")), "array<string>", _OPTIONS)
    only = F.when(F.size("elements") == 1, F.get("elements", 0)).otherwise(F.col("inside"))
    return (
        rows.withColumn("value", value)
        .withColumn("inside", inside)
        .withColumn("elements", elements)
        .withColumn("inside", only)
        .withColumn("text", F.when(F.startswith("inside", F.lit("{")), F.col("inside")).otherwise(F.col("text")))
        .drop("value", "inside", "elements")
    )


def is_single_value(text: Column) -> Column:
    """Whether a text is a single JSON value.

    It is if a marker key after it, in an enclosing object, stays readable. Spark alone parses one value and ignores the
    rest of the text, so a second object would be lost silently.
    """
    return _enclosed(text).getField(_END).isNotNull()


def _enclosed(text: Column, fields: str = "") -> Column:
    """Parse a text as the value `payload` of an object with a marker key after it: the given fields and the marker."""
    whole = F.concat(F.lit('{"payload": '), text, F.lit(f', "{_END}": "here"}}'))
    return F.from_json(whole, f"struct<{fields}`{_END}`: string>", _OPTIONS)


def unwrapped(entries: Column) -> Column:
    """The entries of the object inside an envelope; any other entries unchanged.

    An object is an envelope if it has no complaint id and an object under one of the keys `ENVELOPES`.
    """
    may_be = reduce(or_, (F.map_contains_key(entries, name) for name in ENVELOPES))
    id_keys = BY_NAME["complaint_id"].keys
    has_id = F.exists(F.map_keys(entries), lambda key: normalized_key(key).isin(*id_keys))
    inside = F.coalesce(*(entries_of(entries[name]) for name in ENVELOPES))
    return F.when(may_be & ~has_id, F.coalesce(inside, entries)).otherwise(entries)
