"""Files of every kind are read or refused by name; a truncated file yields its complete records."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from bronze.files import digest, open_members
from bronze.records import FileRecord
from lakehouse.errors import ComplaintsError
from tests.bronze.conftest import HEADER, KNOWN, Write, payloads
from tests.conftest import SAMPLES


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


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_gzip_yields_the_rows_so_far_and_a_broken_one(write: Write, keep: float) -> None:
    rows = [f"{number},a,b,CA,{number * 7919 % 10007}\n" for number in range(20_000)]
    packed = gzip.compress((HEADER + "".join(rows)).encode())
    *whole, last = payloads(write(packed[: int(len(packed) * keep)]))
    assert [json.loads(payload or "")["Complaint ID"] for payload in whole] == [str(n) for n in range(len(whole))]
    assert len(whole) > 1000
    assert rows[len(whole)].startswith(last or "")


def test_a_zip_yields_every_csv_and_json_member(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.csv", HEADER + "1,a,b,CA,x\n")
        archive.writestr("folder/two", '[{"a": 1}]')
        archive.writestr("three.csv.gz", gzip.compress((HEADER + "3,a,b,CA,x\n").encode()))
        archive.writestr("README.txt", "Hello")
        archive.writestr("__MACOSX/._one.csv", b"\0\5\x16\7")
        archive.writestr("folder/._two.csv", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"\0\0\0\1")
        archive.writestr("codebook.csv", "name,meaning\nx,y\n")
        archive.writestr("empty.csv", "")
    skipped: list[str] = []
    members = open_members(path, KNOWN, skipped.append)
    assert [(member.name, member.source) for member in members] == [
        ("archive.zip/one.csv", "csv"), ("archive.zip/folder/two", "json"), ("archive.zip/three.csv.gz", "csv"),
    ]  # fmt: skip
    assert [len(list(member.records())) for member in members] == [1, 1, 1]
    assert [sentence.split(" ", 3)[1] for sentence in skipped] == [
        "archive.zip/README.txt", "archive.zip/codebook.csv", "archive.zip/empty.csv",
    ]  # fmt: skip
    assert skipped[1].startswith("Skipped: archive.zip/codebook.csv begins with 'name', 'meaning', in which no field")


def zipped(**members: str | bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_", ".")), content)  # the same bytes at any time
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"name,age\nA,3\n", "begins with 'name', 'age', in which no field"),
        (b"[2024-01-01] INFO started\n", "no field of a complaint is named"),
        (b"%PDF-1.7\n", "is a PDF document"),
        ("Product,State\n".encode("utf-16"), "is UTF-16 text"),
        ("Product,State\n".encode("utf-16-le"), "is UTF-16 text"),
        ("Product,State\n".encode("utf-16-be"), "is UTF-16 text"),
        (b"\x7fELF\0\0\0\1", "is binary"),
        (b"<!DOCTYPE html>\n<html>", "is a web page"),
        (b'{"detail":"Request was throttled."}', "begins with 'detail', in which no field"),
        (b'{"columns": ["product"], "data": [["Mortgage"]]}', "begins with 'columns', 'data', in which no field"),
        (b'{"meta": {}, "data": [' + b'["a", "Mortgage"],' * 20_000, "begins with 'meta', 'data', in which no field"),
        (b'[["product"], ["Mortgage"]]', "begins with no name, in which no field"),
        (b"name;age\nA;3\n", "begins with 'name;age', in which no field"),
        (b"\x1f\x8b nonsense", "is damaged"),
        (b"PK\x03\x04 nonsense", "is a damaged zip archive"),
        (zipped(read_md="nothing"), "is a zip archive without"),
        (zipped(data_csv="nothing"), "data.csv begins with 'nothing'"),
        (zipped(good_csv="Product\nMortgage\n", data_csv=b"Product\0,\0"), "data.csv is binary"),
        (b"PK\x05\x06" + bytes(18), "is a zip archive without"),
    ],
)
def test_an_unreadable_file_is_refused_by_name(write: Write, content: bytes, found: str) -> None:
    with pytest.raises(ComplaintsError, match=found) as raised:
        open_members(write(content), KNOWN)
    assert str(raised.value).startswith("file")


def test_a_workbook_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "book", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    for path, found in [(tmp_path / "book", "Excel"), (tmp_path, "is a folder"), (tmp_path / "gone", "No such file")]:
        with pytest.raises(ComplaintsError, match=found):
            open_members(path, KNOWN)


def test_a_damaged_gzip_is_reported_after_its_good_records(write: Write) -> None:
    rows = (b"%d,a,b,CA,x%d\n" % (number, number * number) for number in range(100_000))
    packed = bytearray(gzip.compress(HEADER.encode() + b"".join(rows)))
    packed[-8] ^= 0xFF  # its checksum
    (member,) = open_members(write(bytes(packed)), KNOWN)
    records: list[FileRecord] = []
    with pytest.raises(ComplaintsError, match="is damaged"):
        records.extend(member.records())
    assert len(records) > 90_000


def test_what_follows_gzip_data_is_ignored_with_a_warning(write: Write) -> None:
    rows = [f"{number},a,b,CA,x\n" for number in range(50_000)]
    parts = [HEADER + "".join(rows[:10]), "".join(rows[10:])]
    (member,) = open_members(write(b"".join(gzip.compress(part.encode()) for part in parts) + b"\0\0garbage"), KNOWN)
    for _ in range(2):
        assert len(list(member.records())) == 50_000
        assert member.warnings == ["file has bytes after its gzip data that are not gzip; they were ignored."]


def test_an_empty_array_and_a_response_without_hits_have_no_records(write: Write) -> None:
    assert payloads(write("[]")) == payloads(write('{"took":1,"hits":{"total":{"value":0},"hits":[]}}')) == []


@pytest.mark.parametrize(
    ("content", "unknown"),
    [
        (",Product,Notes,Has narrative, ,Notes\n1,a,b,c,d,e\n", ["Notes", "Has narrative"]),
        ('[{"product": "a", "has_narrative": true}, {"Product": "b", "score": 1}]', ["has_narrative", "score"]),
        ('{"took": 1, "hits": {"hits": [{"_id": "1", "_source": {"product": "a", "x": 1}}]}}', ["x"]),
        ("PRODUCT,State\n1,2\n", []),
    ],
)
def test_names_that_are_no_field_are_known_once_the_file_is_read(
    write: Write, content: str, unknown: list[str]
) -> None:
    (member,) = open_members(write(content), KNOWN)
    assert list(member.records())
    assert member.unknown_names == unknown


def test_digest(write: Write) -> None:
    assert digest(write("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
