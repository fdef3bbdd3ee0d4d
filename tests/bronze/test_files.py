"""Files of every kind come back as they were written; broken ones give what is whole and name what isn't."""

import csv
import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronze import csv_records, json_records
from bronze.csv_records import CsvRecords
from bronze.files import digest, open_members
from bronze.json_records import JsonRecords
from bronze.records import FileRecord
from lakehouse.errors import ComplaintsError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
KNOWN = {"complaintid", "product", "issue", "state", "narrative"}
HEADER = "Complaint ID,Product,Issue,State,Narrative\n"
CHARACTERS = st.characters(exclude_categories=["Cs"])  # all but lone surrogates, which no UTF-8 file can hold
CELLS = st.text(CHARACTERS, max_size=12) | st.sampled_from(['"', '""', "\r\n", ",", "\0", "%s"])
TABLES = st.integers(2, 6).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(CHARACTERS, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab}{[]\n,"', max_size=3), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "}, {", "_"]), VALUES, max_size=3), max_size=6)


class Pieces(io.RawIOBase):
    """Bytes that arrive in pieces of the given sizes."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content = io.BytesIO(content)
        self._sizes = cycle(sizes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._content.read(min(next(self._sizes), len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def text_of(content: bytes, sizes: list[int]) -> io.TextIOWrapper:
    buffered = io.BufferedReader(Pieces(content, sizes), 16)
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def read(path: Path) -> list[FileRecord]:
    return [record for member in open_members(path, KNOWN) for record in member.records()]


def payloads(path: Path) -> list[str | None]:
    return [record.payload for record in read(path)]


Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@given(
    table=TABLES,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_a_table_comes_back_exactly(table: list[list[str]], end: str, bom: bytes, sizes: list[int]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    header = [f"Column {at}" for at in range(len(table[0]))]
    writer.writerows([header, *table])
    records = list(CsvRecords(text_of(bom + file.getvalue().encode(), sizes), lambda: False))
    assert [list(json.loads(record.payload or "").items()) for record in records] == [
        list(zip(header, row, strict=True)) for row in table
    ]
    lines = [1 + file.getvalue()[:at].count("\n") for at in record_starts(header, table, end)]
    assert [record.line for record in records] == lines
    assert [record.number for record in records] == list(range(1, len(table) + 1))


def record_starts(header: list[str], table: list[list[str]], end: str) -> Iterator[int]:
    at = 0
    for row in [header, *table]:
        if row is not header:
            yield at
        file = io.StringIO()
        csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerow(row)
        at += len(file.getvalue())


@given(objects=OBJECTS, indent=st.none() | st.integers(0, 2), chunk=st.integers(1, 60), shape=st.sampled_from("al"))
def test_json_elements_come_back_as_their_own_text(
    objects: list[dict[str, object]], indent: int | None, chunk: int, shape: str
) -> None:
    texts = [json.dumps(element, indent=indent, ensure_ascii=False) for element in objects]
    content = "[" + ", \n".join(texts) + "]\n" if shape == "a" else "\n".join(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "CHUNK", chunk)
        records = list(JsonRecords(io.StringIO(content), lambda: False))
    assert [record.payload for record in records] == texts


@pytest.mark.parametrize(
    ("name", "count", "broken"),
    [
        ("export-2014-structured.csv.gz", 8340, 1),
        ("export-2015-narratives.json.gz", 300, 0),
        ("export-2017-snake-case.csv.gz", 145, 0),
        ("export-2023-mixed-truncated.csv.gz", 2068, 1),
        ("export-2023-payday-narratives.csv.gz", 2827, 0),
    ],
)
def test_the_samples(name: str, count: int, broken: int) -> None:
    (member,) = open_members(SAMPLES / name, KNOWN)
    records = list(member.records())
    assert member.name == name
    assert len(records) == count
    cut_off = [record for record in records if not (record.payload or "").startswith("{")]
    assert cut_off == records[count - broken :]
    ids = {json.loads(record.payload or "")[key] for record in records[: count - broken] for key in id_key(records[0])}
    assert len(ids) == count - broken
    assert all(str(value).isdigit() for value in ids)


def id_key(record: FileRecord) -> list[str]:
    return [key for key in json.loads(record.payload or "") if key.lower().replace("_", " ") == "complaint id"]


def test_cells_of_a_real_narrative_are_untouched() -> None:
    path = SAMPLES / "export-2023-payday-narratives.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    assert [json.loads(payload or "") for payload in payloads(path)] == expected


def test_a_row_with_other_cells_than_the_header_is_kept_as_its_text(write: Write) -> None:
    records = read(write(HEADER + "1,a,b,CA,x\r\n2,a,b\r\n3,a,b,CA,x,more\n4,a,b,CA,x"))
    assert [record.payload for record in records[1:3]] == ["2,a,b", "3,a,b,CA,x,more"]
    assert [record.line for record in records] == [2, 3, 4, 5]
    assert json.loads(records[3].payload or "")["Complaint ID"] == "4"


def test_a_record_cut_inside_a_quote_is_broken_though_its_cells_are_enough(write: Write) -> None:
    assert payloads(write(HEADER + '1,a,b,CA,"it began\nand'))[0] == '1,a,b,CA,"it began\nand'


def test_a_stray_quote_costs_one_row_only(write: Write) -> None:
    rows = [f"{number},a,b,CA,fine\n" for number in range(1, 6)]
    rows[1] = '2,a,b,CA,"not fine\n'
    records = read(write(HEADER + "".join(rows)))
    assert [record.payload for record in records if not (record.payload or "").startswith("{")] == [
        '2,a,b,CA,"not fine'
    ]
    assert [record.line for record in records] == [2, 3, 4, 5, 6]


def test_a_quote_that_never_ends_is_given_up(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1000)
    content = HEADER + '1,a,b,CA,"stray\n' + "just prose\n" * 300 + "2,a,b,CA,x\n"
    records = read(write(content))
    assert all(len(record.payload or "") < 2000 for record in records)
    assert json.loads(records[-1].payload or "")["Complaint ID"] == "2"
    assert records[-1].line == 303


def test_a_line_without_end_keeps_the_memory_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1 << 20)
    path = tmp_path / "long.csv"
    path.write_text(HEADER + '1,a,b,CA,"' + "x" * (40 << 20) + '"\n2,a,b,CA,x\n', encoding="utf-8")
    (member,) = open_members(path, KNOWN)
    tracemalloc.start()
    count = sum(1 for _ in member.records())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 1
    assert peak < 16 << 20


def test_lines_that_are_not_utf8_keep_their_bytes(write: Write) -> None:
    records = read(write(HEADER.encode() + b"1,a,b,CA,caf\xe9\r\n2,a,b,CA,\xc3\xa9\n"))
    assert (records[0].payload, records[0].payload_bytes) == (None, b"1,a,b,CA,caf\xe9")
    assert json.loads(records[1].payload or "")["Narrative"] == "é"


def test_nul_unnamed_and_repeated_columns_survive(write: Write) -> None:
    (record,) = read(write(",Product,Product\n0,a\0b,c\n"))
    cells = json.loads(record.payload or "", object_pairs_hook=list)
    assert cells == [("", "0"), ("Product", "a\0b"), ("Product", "c")]


def test_what_json_would_lose_survives(write: Write) -> None:
    element = '{"Complaint ID": 1234567890123456789012345678901234567890, "a": 1.10, "a":2}'
    assert payloads(write(f"[{element},\n{element}]")) == [element, element]


RESPONSE = """{"took": 1, "hits": {"total": {"value": 2}, "hits": [
  {"_id": "1", "_source": {"complaint_id": "1", "a": {"}": 1}}, "sort": [1]},
  {"_source": {"complaint_id": "2"}}], "max_score": null}, "aggregations": {"x": [1, {}]}}
"""


def test_an_api_response_gives_its_hits_unwrapped(write: Write) -> None:
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
def test_json_that_was_cut_off_gives_the_whole_elements_and_the_rest(
    write: Write, content: str, whole: list[str], rest: str
) -> None:
    assert payloads(write(content)) == [*whole, rest]


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": tru}, {"a": 3}]', '{"a": 1}\n{"a": tru}\n{"a": 3}\n'])
def test_a_broken_element_costs_itself_only(write: Write, content: str) -> None:
    assert payloads(write(content)) == ['{"a": 1}', '{"a": tru}', '{"a": 3}']


def test_a_broken_line_costs_itself_only(write: Write) -> None:
    records = read(write('{"a": 1}\n{"a": "bro\n{"a": 3}\n'))
    assert [(record.line, record.payload) for record in records] == [
        (1, '{"a": 1}'),
        (2, '{"a": "bro'),
        (3, '{"a": 3}'),
    ]


def test_deep_nesting_and_huge_numbers_are_only_records(write: Write) -> None:
    deep, huge = "[" * 100_000, "9" * 5_000
    *_, number, broken = payloads(write(f'[{{"a": 1}}, {huge}, {{"a": {deep}}}]'))
    assert number == huge
    assert (broken or "").startswith('{"a": [[[')


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_gzip_that_was_broken_off_gives_the_rows_so_far_and_a_broken_one(write: Write, keep: float) -> None:
    rows = [f"{number},a,b,CA,{number * 7919 % 10007}\n" for number in range(20_000)]
    packed = gzip.compress((HEADER + "".join(rows)).encode())
    *whole, last = payloads(write(packed[: int(len(packed) * keep)]))
    assert [json.loads(payload or "")["Complaint ID"] for payload in whole] == [str(n) for n in range(len(whole))]
    assert len(whole) > 1000
    assert rows[len(whole)].startswith(last or "")


def test_a_zip_gives_every_csv_and_json_member(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.csv", HEADER + "1,a,b,CA,x\n")
        archive.writestr("folder/two", '[{"a": 1}]')
        archive.writestr("three.csv.gz", gzip.compress((HEADER + "3,a,b,CA,x\n").encode()))
        archive.writestr("README.txt", "Hello")
        archive.writestr("__MACOSX/._one.csv", b"\0\5\x16\7")
    members = open_members(path, KNOWN)
    assert [(member.name, member.source) for member in members] == [
        ("archive.zip/one.csv", "csv"), ("archive.zip/folder/two", "json"), ("archive.zip/three.csv.gz", "csv"),
    ]  # fmt: skip
    assert [len(list(member.records())) for member in members] == [1, 1, 1]


def zipped(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"name,age\nA,3\n", "begins with 'name', 'age', in which no field"),
        (b"[2024-01-01] INFO started\n", "no field of a complaint is named"),
        (b"%PDF-1.7\n", "is a PDF document"),
        ("Product,State\n".encode("utf-16"), "is UTF-16 text"),
        (b"\x7fELF\0\0\0\1", "is binary"),
        (b"\x1f\x8b nonsense", "is damaged"),
        (b"PK\x03\x04 nonsense", "is a damaged zip archive"),
        (zipped(read_md="nothing"), "is a zip archive without"),
        (zipped(data_csv="nothing"), "data.csv begins with 'nothing'"),
        (b"PK\x05\x06" + bytes(18), "is a zip archive without"),
    ],
)
def test_what_cannot_be_read_is_named(write: Write, content: bytes, found: str) -> None:
    with pytest.raises(ComplaintsError, match=found) as raised:
        open_members(write(content), KNOWN)
    assert str(raised.value).startswith("file")


def test_a_workbook_a_folder_and_nothing_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "book", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    for path, found in [(tmp_path / "book", "Excel"), (tmp_path, "is a folder"), (tmp_path / "gone", "No such file")]:
        with pytest.raises(ComplaintsError, match=found):
            open_members(path, KNOWN)


def test_damage_in_the_middle_of_a_gzip_is_named(write: Write) -> None:
    rows = (b"%d,a,b,CA,x%d\n" % (number, number * number) for number in range(100_000))
    packed = bytearray(gzip.compress(HEADER.encode() + b"".join(rows)))
    packed[-8] ^= 0xFF  # its checksum
    (member,) = open_members(write(bytes(packed)), KNOWN)
    records: list[FileRecord] = []
    with pytest.raises(ComplaintsError, match="is damaged"):
        records.extend(member.records())
    assert len(records) > 90_000


def test_digest(write: Write) -> None:
    assert digest(write("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
