"""A CSV file is read in the dialect in which it is written, whatever program saved it."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from bronze.csv_dialect import Dialect, dialect_of
from bronze.csv_records import CsvRecords
from bronze.records import key_of
from tests.bronze.conftest import CHARACTERS, KNOWN, Write, payloads, read

TITLES = ["Complaint ID", "Product", "Issue", "State", "Narrative"]
ROWS = [
    ["1", "Mortgage", "a, b; c|d", "FL", 'Paid "twice"'],
    ["2", "Debt collection", "", "CA", ""],
    ["3", "Mortgage", "c", "", "d"],
]
PLAIN = (
    'Complaint ID,Product,Issue,State,Narrative\n1,Mortgage,"a, b; c|d",FL,"Paid ""twice"""\n'
    "2,Debt collection,,CA,\n3,Mortgage,c,,d\n"
)


def quoted(delimiter: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([TITLES, *ROWS])
    return file.getvalue()


LAYOUTS = {
    "plain": PLAIN,
    "Windows line ends": PLAIN.replace("\n", "\r\n"),
    "two carriage returns": PLAIN.replace("\n", "\r\r\n"),
    "only carriage returns": PLAIN.replace("\n", "\r"),
    "two byte order marks": "\ufeff\ufeff" + PLAIN,
    "semicolons": quoted(";"),
    "tabs": quoted("\t"),
    "pipes": quoted("|"),
    "a line that names the comma": "sep=,\r\n" + quoted(end="\r\n"),
    "a line that names the semicolon": "\ufeffsep=;\n" + quoted(";"),
    "a quoted line that names an odd delimiter": '"sep=^"\n' + quoted("^"),
    "spaces after commas": quoted().replace('","', '", "').replace('"Complaint ID"', "Complaint ID"),
    "spaces after commas, but not in the header": quoted().replace('","', '", "').replace('", "', '","', 4),
    "a comma at the end of each line": PLAIN.replace("\n", ",\n"),
    "commas at the end of each row": PLAIN.replace("\n", ",,\n").replace("Narrative,,", "Narrative"),
    "no empty cells at the end": PLAIN.replace("CA,\n", "CA\n"),
    "lines quoted as a whole": "".join(
        '"' + line.replace('"', '""') + '"\r\n' for line in PLAIN.splitlines()
    ),
    "odd characters in titles": PLAIN.replace("Complaint ID", "\u200bComplaint\u00a0ID").replace("St", "S\u2011t"),
    "backslash escapes": PLAIN.replace('""', '\\"', 1).replace('"""', '\\""'),
    "a product column twice": "".join(
        f"{line},{row[1]}\n" for line, row in zip(PLAIN.splitlines(), [TITLES, *ROWS], strict=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_table_has_the_same_cells(write: Write, layout: str) -> None:
    rows = [json.loads(payload or "") for payload in payloads(write(LAYOUTS[layout]))]
    found = [{key_of(title): cell for title, cell in row.items() if title} for row in rows]
    assert found == [dict(zip(map(key_of, TITLES), row, strict=True)) for row in ROWS]


def test_lines_are_counted_by_the_line_ends_of_the_file(write: Write) -> None:
    records = read(write('sep=,\rProduct,Issue\r\r"a\nb",c\rd\r'))
    assert [(record.line, record.payload) for record in records] == [
        (4, '{"Product": "a\\nb", "Issue": "c"}'),
        (5, "d"),
    ]


@pytest.mark.parametrize(
    ("head", "dialect"),
    [
        ('Product,Issue\nMortgage," (""x"")"\n', Dialect()),
        ("Product,Issue\nMortgage, plain\n", Dialect()),
        ("Notes;with;semicolons,Product\n", Dialect()),
        ("Product\n", Dialect()),
        ("", Dialect()),
    ],
)
def test_an_ordinary_file_is_read_by_the_standard(head: str, dialect: Dialect) -> None:
    assert dialect_of(head, KNOWN) == dialect


@pytest.mark.parametrize("cell", ["word " * 40_000, "bare\rreturn"])
def test_an_odd_first_row_does_not_hide_the_dialect(write: Write, cell: str) -> None:
    (record,) = read(write(f"Product;Narrative\nMortgage;{cell}\n"))
    assert json.loads(record.payload or "") == {"Product": "Mortgage", "Narrative": cell}


def test_an_unquoted_cell_may_hold_a_carriage_return(write: Write) -> None:
    first, second = payloads(write("Product,Issue\nbare\rreturn,x\nb,y\n"))
    assert json.loads(first or "") == {"Product": "bare\rreturn", "Issue": "x"}
    assert json.loads(second or "") == {"Product": "b", "Issue": "y"}


def test_columns_of_one_name_stay_apart_where_their_cells_differ(write: Write) -> None:
    same, other = payloads(write("Product,Issue,product\na,b,a\na,b,c\n"))
    assert json.loads(same or "", object_pairs_hook=list) == [("Product", "a"), ("Issue", "b")]
    assert json.loads(other or "", object_pairs_hook=list) == [("Product", "a"), ("Issue", "b"), ("product", "c")]


# ---- backslash escapes -----------------------------------------------------------------------------------------------

ESCAPED = [
    'They said "pay, now" to me', '"starts quoted" and, a comma', 'ends with a "quote"', '"',
    'He wrote\n"two\nlines", then left', "path C:\\temp, and a comma", "C:\\temp", "ends with a backslash, so \\",
    'one " inch, two " inches, three', "a\\\\b, c", "n", 'a backslash and a quote \\", and more', "",
]  # fmt: skip


def test_a_file_that_spark_wrote_is_read_back(spark: SparkSession, tmp_path: Path) -> None:
    rows = [(str(number), text, "FL") for number, text in enumerate(ESCAPED)]
    frame = spark.createDataFrame(rows, "`Complaint ID` string, Narrative string, State string")
    frame.coalesce(1).write.option("header", value=True).csv(str(tmp_path / "table"))
    [path] = (tmp_path / "table").glob("*.csv")
    assert [tuple(json.loads(payload or "").values()) for payload in payloads(path)] == rows


@given(st.lists(st.text(CHARACTERS, max_size=8) | st.sampled_from(ESCAPED), min_size=1, max_size=8))
def test_escaped_cells_are_read_back_once_one_cell_shows_the_escapes(cells: list[str]) -> None:
    rows = [[text, "x"] for text in ('said "no" twice', *cells)]
    lines = (",".join('"' + re_escaped(cell) + '"' for cell in row) + "\n" for row in [["Product", "Issue"], *rows])
    records = CsvRecords(io.StringIO("".join(lines), newline="\n"), lambda: False, Dialect())
    assert [list(json.loads(record.payload or "").values()) for record in records] == rows


def re_escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace('"', '\\"')


def test_escapes_that_only_a_later_row_shows_change_no_earlier_row(write: Write) -> None:
    early = [f'{number},a,b,CA,"C:\\dir\\"\n' for number in range(20_000)]
    late = '0,a,b,CA,"one \\"two\\", three"\n1,a,b,CA,"a quote\\""\n'
    *rows, first, second = payloads(write(",".join(TITLES) + "\n" + "".join(early) + late))
    assert {json.loads(row or "")["Narrative"] for row in rows} == {"C:\\dir\\"}
    assert [json.loads(row or "")["Narrative"] for row in (first, second)] == ['one "two", three', 'a quote"']


def test_a_broken_row_among_escaped_ones_breaks_no_other(write: Write) -> None:
    content = '1,a,b,CA,"x \\"y\\" z"\n2,a,b,CA,"open\n3,a,b,CA,"x \\"y\\", z"\n4,a,b,CA,w\n'
    found = payloads(write(",".join(TITLES) + "\n" + content))
    assert [json.loads(row or "")["Narrative"] for row in found if (row or "").startswith("{")] == [
        'x "y" z',
        'x "y", z',
        "w",
    ]
    assert [row for row in found if not (row or "").startswith("{")] == ['2,a,b,CA,"open']
