"""CSV rows are read back exactly as they were written; a broken row loses no other row."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronze import csv_records
from bronze.csv_dialect import Dialect
from bronze.csv_records import CsvRecords
from bronze.files import open_members
from tests.bronze.conftest import CHARACTERS, HEADER, KNOWN, Write, payloads, read
from tests.conftest import SAMPLES

CELLS = st.text(CHARACTERS, max_size=12) | st.sampled_from(['"', '""', "\r\n", ",", "\0", "%s", "\\", '\\"'])


TABLES = st.integers(2, 6).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
)


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


@given(
    table=TABLES,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_a_table_is_read_back_exactly(table: list[list[str]], end: str, bom: bytes, sizes: list[int]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    header = [f"Column {at}" for at in range(len(table[0]))]
    writer.writerows([header, *table])
    records = list(CsvRecords(text_of(bom + file.getvalue().encode(), sizes), lambda: False, Dialect()))
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


def test_cells_of_real_narratives_are_unchanged() -> None:
    path = SAMPLES / "export-2023-payday-narratives.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    assert [json.loads(payload or "") for payload in payloads(path)] == expected


def test_a_row_with_extra_cells_or_few_cells_is_stored_as_text(write: Write) -> None:
    records = read(write(HEADER + "1,a,b,CA,x\r\n2,a\r\n3,a,b,CA,x,more\n4,a,b,CA,x"))
    assert [record.payload for record in records[1:3]] == ["2,a", "3,a,b,CA,x,more"]
    assert [record.line for record in records] == [2, 3, 4, 5]
    assert json.loads(records[3].payload or "")["Complaint ID"] == "4"


def test_only_empty_cells_at_the_end_of_a_row_may_be_missing_or_too_many(write: Write) -> None:
    rows = ["1,a,b", "2,a,b,CA", "3,a,b,CA,x,,", '4,a,b,CA,"two\nlines",', '5,a,b,"two\nlines"', "6,a,b,CA"]
    *whole, last = payloads(write(HEADER + "\n".join(rows)))
    assert [json.loads(row or "")["Narrative"] for row in whole] == ["", "", "x", "two\nlines", ""]
    assert last == "6,a,b,CA"  # without a line end it may be truncated


def test_what_may_be_the_end_of_a_broken_row_is_stored_as_text(write: Write) -> None:
    rows = ['1,a,b,CA,"x"', "2,a,b,CA,it began, and", "e,f,g,h", "3,a,b,CA", "4,a,b,CA,x"]
    found = payloads(write(HEADER + "\n".join(rows)))
    assert found[1:3] == ["2,a,b,CA,it began, and", "e,f,g,h"]
    assert [json.loads(found[at] or "")["Complaint ID"] for at in (0, 3, 4)] == ["1", "3", "4"]


def test_a_last_row_that_alone_has_missing_cells_may_be_truncated(write: Write) -> None:
    first, last = payloads(write(HEADER + "1,a,b,CA,x\n2,a,b,CA\n"))
    assert (json.loads(first or "")["Complaint ID"], last) == ("1", "2,a,b,CA")


def test_a_record_truncated_inside_a_quote_is_broken_despite_enough_cells(write: Write) -> None:
    assert payloads(write(HEADER + '1,a,b,CA,"it began\nand'))[0] == '1,a,b,CA,"it began\nand'


def test_a_stray_quote_breaks_only_one_row(write: Write) -> None:
    rows = [f"{number},a,b,CA,fine\n" for number in range(1, 6)]
    rows[1] = '2,a,b,CA,"not fine\n'
    records = read(write(HEADER + "".join(rows)))
    assert [record.payload for record in records if not (record.payload or "").startswith("{")] == [
        '2,a,b,CA,"not fine'
    ]
    assert [record.line for record in records] == [2, 3, 4, 5, 6]


def test_an_unclosed_quote_is_given_up_after_the_maximum_length(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1000)
    content = HEADER + '1,a,b,CA,"stray\n' + "just prose\n" * 300 + "2,a,b,CA,x\n"
    records = read(write(content))
    assert all(len(record.payload or "") < 2000 for record in records)
    assert json.loads(records[-1].payload or "")["Complaint ID"] == "2"
    assert records[-1].line == 303


def test_memory_is_bounded_for_an_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_nul_bytes_and_unnamed_or_duplicate_columns_are_preserved(write: Write) -> None:
    (record,) = read(write(",Product,Product\n0,a\0b,c\n"))
    cells = json.loads(record.payload or "", object_pairs_hook=list)
    assert cells == [("", "0"), ("Product", "a\0b"), ("Product", "c")]
