"""JSON of every shape is read as its original text; a broken element loses no other element."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronze import json_records
from bronze.json_records import JsonRecords
from tests.bronze.conftest import CHARACTERS, Write, payloads, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(CHARACTERS, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab}{[]\n,"', max_size=3), inner, max_size=3),
    max_leaves=6,
)


OBJECTS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "}, {", "_"]), VALUES, max_size=3), max_size=6)


RESPONSE = """{"took": 1, "hits": {"total": {"value": 2}, "hits": [
  {"_id": "1", "_source": {"complaint_id": "1", "a": {"}": 1}}, "sort": [1]},
  {"_source": {"complaint_id": "2"}}], "max_score": null}, "aggregations": {"x": [1, {}]}}
"""


@given(objects=OBJECTS, indent=st.none() | st.integers(0, 2), chunk=st.integers(1, 60), shape=st.sampled_from("al"))
def test_json_elements_keep_their_original_text(
    objects: list[dict[str, object]], indent: int | None, chunk: int, shape: str
) -> None:
    texts = [json.dumps(element, indent=indent, ensure_ascii=False) for element in objects]
    content = "[" + ", \n".join(texts) + "]\n" if shape == "a" else "\n".join(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "CHUNK", chunk)
        records = list(JsonRecords(io.StringIO(content), lambda: False))
    assert [record.payload for record in records] == texts


def test_long_numbers_and_duplicate_keys_are_preserved(write: Write) -> None:
    element = '{"Complaint ID": 1234567890123456789012345678901234567890, "a": 1.10, "a":2}'
    assert payloads(write(f"[{element},\n{element}]")) == [element, element]


def test_an_api_response_yields_its_hits_unwrapped(write: Write) -> None:
    records = read(write(RESPONSE * 2))
    assert [record.payload for record in records] == [
        '{"complaint_id": "1", "a": {"}": 1}}',
        '{"complaint_id": "2"}',
    ] * 2
    assert [record.line for record in records] == [2, 3, 5, 6]


def test_a_single_object_and_wrapped_lines(write: Write) -> None:
    assert payloads(write('{\n "a": 1\n}')) == ['{\n "a": 1\n}']
    assert payloads(write('{"_source": {"a": 1}}\n{"_source": "odd"}')) == ['{"a": 1}', '{"_source": "odd"}']


@pytest.mark.parametrize(
    ("content", "whole", "rest"),
    [
        ('[{"a": 1}, {"a": 2}, {"a": "bro', ['{"a": 1}', '{"a": 2}'], '{"a": "bro'),
        ('[{"a": 1},', ['{"a": 1}'], ""),
        ('{"a": 1}\n{"a": ', ['{"a": 1}'], '{"a":'),
        ('{"hits": {"hits": [{"_source": {"a": 1}}, {"_so', ['{"a": 1}'], '{"_so'),
        ('{"hits": {"hits": [{"_source": {"a": 1}}]', ['{"a": 1}'], ""),
    ],
)
def test_truncated_json_yields_the_complete_elements_and_the_rest(
    write: Write, content: str, whole: list[str], rest: str
) -> None:
    assert payloads(write(content)) == [*whole, rest]


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": tru}, {"a": 3}]', '{"a": 1}\n{"a": tru}\n{"a": 3}\n'])
def test_a_broken_element_loses_no_other_element(write: Write, content: str) -> None:
    assert payloads(write(content)) == ['{"a": 1}', '{"a": tru}', '{"a": 3}']


def test_a_broken_line_loses_no_other_line(write: Write) -> None:
    records = read(write('{"a": 1}\n{"a": "bro\n{"a": 3}\n'))
    assert [(record.line, record.payload) for record in records] == [
        (1, '{"a": 1}'),
        (2, '{"a": "bro'),
        (3, '{"a": 3}'),
    ]


def test_deep_nesting_and_huge_numbers_are_ordinary_records(write: Write) -> None:
    deep, huge = "[" * 100_000, "9" * 5_000
    *_, number, broken = payloads(write(f'[{{"a": 1}}, {huge}, {{"a": {deep}}}]'))
    assert number == huge
    assert (broken or "").startswith('{"a": [[[')
