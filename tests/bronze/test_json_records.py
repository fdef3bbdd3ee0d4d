"""JSON of every shape is read as its original text; a broken element loses no other element."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronze import json_records
from bronze.json_records import JsonRecords
from tests.bronze.conftest import CHARACTERS, KNOWN, Write, payloads, read

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
        records = list(JsonRecords(io.StringIO(content), lambda: False, KNOWN))
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


WRAPPED = {
    "an object around an array": ('{"count": 2, "data": [%s, %s]}', 2),
    "the array first": ('{"results": [%s, %s], "next": null, "links": [{"rel": "x"}]}', 2),
    "several arrays": ('{"2022": [%s], "meta": {"page": {"size": 1}, "sort": ["a"]}, "2023": [%s]}', 2),
    "deeper": ('{"meta": [1, {"b": []}], "response": {"body": {"items": [%s,%s]}}, "x": "]}"}', 2),
    "a list of responses": ('[{"hits": {"hits": [{"_source": %s}]}}, {"hits": {"hits": [{"_source": %s}]}}]', 2),
    "one of them without hits": ('[{"hits": {"hits": []}}, {"data": [%s]}, {"error": "x"}, {"data": [%s]}]', 3),
    "a list of lists": ("[[%s], [%s]]", 2),
    "responses in lines": ('{"data": [%s]}\n{"data": [%s]}\n', 2),
    "commas without brackets": ("%s,\n%s,\n", 2),
    "only an outer key for each": ('{"7100101": %s, "7100102": %s}', 2),
}  # fmt: skip


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("shape", WRAPPED)
def test_complaints_are_found_in_any_wrapper(write: Write, shape: str, indent: int | None) -> None:
    facts = {"product": "Mortgage", "issue": '"]}, {', "state": "FL", "narrative": "x", "tags": [{"product": "y"}]}
    texts = [json.dumps({"id": number, **facts}, indent=indent) for number in (1, 2)]
    content, count = WRAPPED[shape]
    found = payloads(write(content % tuple(texts)))
    assert [payload for payload in found if payload != '{"error": "x"}'] == texts
    assert len(found) == count


def test_a_wrapper_of_any_size_is_read_in_one_pass(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD", 20_000)
    elements = [json.dumps({"product": f"number {number}", "narrative": "word " * 100}) for number in range(1_000)]
    assert payloads(write('{"count": 1000, "data": [' + ",".join(elements) + '], "more": null}')) == elements


def test_what_an_undetected_wrapper_holds_is_not_skipped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD", 1_000)
    monkeypatch.setattr(json_records, "CHUNK", 100)
    elements = [json.dumps({"product": f"number {number}"}) for number in range(100)]
    found = payloads(write('{"about": "' + "x" * 200 + '", "data": [' + ",".join(elements) + "]}"))
    assert [payload for payload in found if payload in elements] == elements


def test_a_complaint_that_holds_objects_is_one_record(write: Write) -> None:
    element = '{"id": 7, "history": [{"state": "FL"}], "product": "Mortgage"}'
    assert payloads(write(element)) == payloads(write(f"[{element}]")) == [element]


def test_the_keys_of_the_records_are_collected() -> None:
    text = '[{"product": 1, "b": {"c": 2}}, {"_id": 1, "_source": {"d": 1}}, [{"e": 1}]]'
    records = JsonRecords(io.StringIO(text), lambda: False, KNOWN)
    assert (len(list(records)), list(records.names)) == (3, ["product", "b", "d"])


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
