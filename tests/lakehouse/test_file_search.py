"""Text is found in every file format, and a file that can't be searched is never reported as clean."""

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse import file_search
from lakehouse.file_search import UnreadableError, files_below, holds

WORDS = "lent me a harpsichord"
SAID = f'Zanzibar {WORDS}, and then "some".'


def as_zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("read.me", b"nothing")
        archive.writestr("rows.json", content)
    return packed.getvalue()


def parquet(path: Path, column: str) -> None:
    rows = {"id": [1, 2], "blob": [b"\xff", SAID.encode()], "text": [SAID, "no"], "list": [["no"], [SAID]]}
    pq.write_table(pa.table({"id": rows["id"], column: rows[column]}), path, compression="zstd")


def sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER, note TEXT)")
        connection.execute("INSERT INTO notes VALUES (1, ?)", ("x" * 4070 + SAID + "x" * 9000,))  # spans two pages
        connection.commit()


def duck(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE notes AS SELECT range AS id, $said AS note FROM range(5000)", {"said": SAID})


PACKED: dict[str, Callable[[Path], object]] = {
    "plain": lambda path: path.write_text(SAID),
    "json": lambda path: path.write_text(json.dumps([{"narrative": SAID}])),
    "where two chunks meet": lambda path: path.write_bytes(b"x" * 90 + SAID.encode() + b"x" * 500),
    "gzip": lambda path: path.write_bytes(gzip.compress(SAID.encode())),
    "zip": lambda path: path.write_bytes(as_zip(SAID.encode())),
    "gzip in zip": lambda path: path.write_bytes(as_zip(gzip.compress(SAID.encode()))),
    "zip in gzip": lambda path: path.write_bytes(gzip.compress(as_zip(SAID.encode()))),
    "parquet": lambda path: parquet(path, "text"),
    "bytes in parquet": lambda path: parquet(path, "blob"),
    "a list in parquet": lambda path: parquet(path, "list"),
    "sqlite": sqlite,
    "duckdb": duck,
}


@pytest.mark.parametrize("kind", PACKED)
def test_text_is_found_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(file_search, "CHUNK", 100)
    PACKED[kind](tmp_path / "file")
    assert holds(tmp_path / "file", WORDS)
    assert not holds(tmp_path / "file", "lent me a piano")


@pytest.mark.parametrize("broken", [b"PAR1 and no more", b"\x1f\x8b\x08 and no more", b"PK\x03\x04 and no more"])
def test_a_file_that_cannot_be_unpacked_raises_an_error(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "file").write_bytes(broken)
    with pytest.raises(UnreadableError):
        holds(tmp_path / "file", WORDS)


def test_files_below_a_folder_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / ".hidden").write_text(SAID)
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    assert [path.name for path in files_below(tmp_path)] == [".hidden"]
    assert not holds(tmp_path / "gone", WORDS)
