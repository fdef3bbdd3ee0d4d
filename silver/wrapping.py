"""Find the JSON object of a complaint in a payload that producers or tools have wrapped.

Reads the columns `payload` and `payload_bytes` of bronze rows; returns columns. Nearly every payload is the object
itself, which two comparisons show; the rest of this module is evaluated only for the others.
"""

import string
from collections.abc import Callable
from uuid import uuid4

from pyspark.sql import Column
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
ID_KEYS = BY_NAME["complaint_id"].keys
ENVELOPES = ("payload", "after", "data")

# A value of MongoDB's extended JSON, which names its type: {"$date": "2023-05-01T00:00:00Z"}, {"$numberLong": "7"}.
_TYPED = r'\{\s*"\$(?:date|numberLong|numberInt)"\s*:\s*("[^"\\]*"|\d+)\s*\}'
_TYPE_BEGINS = '"$'

_OPTIONS = {"allowUnquotedControlChars": "true"}  # a raw tab or line break in a text can mean only itself
_END = f"end-{uuid4().hex}"  # a key that no payload has


def normalized_key(key: Column) -> Column:
    """A key of a payload in lower case, without punctuation, spaces and invisible characters."""
    return F.translate(F.lower(key), _IGNORED_IN_KEYS, "")


def entries_of(text: Column) -> Column:
    """The keys and values of a JSON object, each value as text; null when the text does not begin with an object."""
    return F.from_json(text, "map<string,string>", _OPTIONS)


def json_text() -> Column:
    """The JSON text of a bronze row that is not oversized, without what is around it.

    Left out are byte order marks, NUL padding at the end, and a schema registry's prefix before an object. UTF-16 is
    decoded. Of a JSON string with an object's text, and of an array with a single object, the object is returned. Null
    for bytes that are none of these.
    """
    payload = F.col("payload")
    is_plain = F.startswith(payload, F.lit("{")) & F.endswith(payload, F.lit("}"))
    data = F.coalesce("payload_bytes", F.encode(payload, "UTF-8"))
    text = _once(data, lambda data: _once(F.btrim(_decoded(data), F.lit(_AROUND)), _inside))
    return F.when(is_plain, payload).otherwise(text)


def without_types(text: Column) -> Column:
    """The text with plain values in place of those of MongoDB's extended JSON, as mongoexport writes them."""
    plain = F.regexp_replace(F.regexp_replace(text, _TYPED, "$1"), _TYPED, "$1")  # {"$date": {"$numberLong": "7"}}
    return F.when(F.contains(text, F.lit(_TYPE_BEGINS)), plain).otherwise(text)


def _once(value: Column, use: Callable[[Column], Column]) -> Column:
    """Evaluate a value once for an expression that uses it several times.

    Spark evaluates a lambda without generated code. That suits these rare rows, whose code would otherwise make the
    generated methods of all rows too long to be compiled.
    """
    return F.get(F.transform(F.array(value), use), 0)


def _decoded(data: Column) -> Column:
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
    return _once(F.decode(data, charset), lambda text: F.when(F.encode(text, charset) == data, text))


def _inside(text: Column) -> Column:
    """The object in a JSON string or in an array of one element; any other text unchanged."""
    starts = F.startswith(text, F.lit('"')) | F.startswith(text, F.lit("["))
    value = _enclosed(F.when(starts, text), "payload: string, ")
    alone = _once(value, lambda value: F.when(value.getField(_END).isNotNull(), value.getField("payload")))
    only = _once(alone, lambda alone: _once(_elements(alone), lambda found: _only(found, alone)))
    return _once(only, lambda only: F.when(F.startswith(only, F.lit("{")), only).otherwise(text))


def _elements(text: Column) -> Column:
    return F.from_json(F.when(F.startswith(text, F.lit("[")), text), "array<string>", _OPTIONS)


def _only(elements: Column, otherwise: Column) -> Column:
    return F.when(F.size(elements) == 1, F.get(elements, 0)).otherwise(otherwise)


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
    """The entries of the object inside an envelope, or inside two; any other entries unchanged.

    For entries without a complaint id. An object is an envelope if it has none and has an object under one of the keys
    `ENVELOPES`.
    """
    return _once(_once(entries, _content), _content)  # Debezium's envelope may be inside Kafka Connect's


def _content(entries: Column) -> Column:
    has_id = F.exists(F.map_keys(entries), lambda key: normalized_key(key).isin(*ID_KEYS))
    inside = F.coalesce(*(entries_of(entries[name]) for name in ENVELOPES), entries)
    return F.when(has_id, entries).otherwise(inside)
