"""Searches files for words, whatever they are packed in: plain, gzip, zip, Parquet, SQLite, DuckDB, one in another."""

import gzip
import io
import os
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import duckdb

CHUNK = 1 << 22
OVERLAP = 1 << 12  # bytes looked at twice, so that nothing is missed where two chunks meet
IN_MEMORY = 1 << 28  # of a member of an archive that must be read as a whole
_ROW = "concat_ws(chr(10), *COLUMNS(*))"  # every cell of a row as text


class UnreadableError(Exception):
    """A file says by its first bytes what it is, and can't be read as that."""


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder; what links lead to is left out."""
    for root, _, names in os.walk(folder):
        yield from (path for name in sorted(names) if (path := Path(root) / name).is_file() and not path.is_symlink())


def holds(path: Path, wanted: str) -> bool:
    """Whether a file holds what a pattern finds: in its bytes as they are, or unpacked.

    Args:
        path: the file; one that is gone meanwhile holds nothing.
        wanted: a regular expression of ASCII alone, which Python and DuckDB read alike.

    Raises:
        UnreadableError: it can't be unpacked, so that nobody knows.
    """
    try:
        with path.open("rb") as file:
            if _stream_holds(file, re.compile(wanted.encode())):
                return True
            file.seek(0)
            magic = file.read(16)
        if magic.startswith(b"PAR1"):
            return _parquet_holds(path, wanted)
        if magic.startswith(b"SQLite format 3"):
            return _sqlite_holds(path, wanted)
        return magic[8:12] == b"DUCK" and _duckdb_holds(path, wanted)
    except FileNotFoundError:
        return False
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, sqlite3.Error, duckdb.Error) as error:
        raise UnreadableError(str(error)) from error


def _stream_holds(stream: IO[bytes] | gzip.GzipFile, wanted: re.Pattern[bytes]) -> bool:
    """The same of bytes, and of what a gzip stream or a zip archive in them unpacks to."""
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return _stream_holds(unpacked, wanted)
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(stream) as archive:
            return any(_member_holds(archive, name, wanted) for name in archive.infolist() if not name.is_dir())
    before = b""
    while chunk := stream.read(CHUNK):
        if wanted.search(before + chunk):
            return True
        before = chunk[-OVERLAP:]
    return False


def _member_holds(archive: zipfile.ZipFile, member: zipfile.ZipInfo, wanted: re.Pattern[bytes]) -> bool:
    with archive.open(member) as unpacked:
        if member.file_size > IN_MEMORY:
            return _stream_holds(unpacked, wanted)
        return _stream_holds(io.BytesIO(unpacked.read()), wanted)


def _parquet_holds(path: Path, wanted: str) -> bool:
    with duckdb.connect() as connection:
        return _some(connection, "read_parquet($path)", {"path": str(path)}, wanted)


def _duckdb_holds(path: Path, wanted: str) -> bool:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        return any(_some(connection, f'"{schema}"."{name}"', {}, wanted) for schema, name in tables)


def _some(connection: duckdb.DuckDBPyConnection, rows: str, given: dict[str, str], wanted: str) -> bool:
    found = f"SELECT 1 FROM {rows} WHERE regexp_matches({_ROW}, $wanted) LIMIT 1"  # noqa: S608 - names that are there
    return connection.execute(found, {**given, "wanted": wanted}).fetchone() is not None


def _sqlite_holds(path: Path, wanted: str) -> bool:
    pattern = re.compile(wanted)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - a table that is there
            if any(pattern.search(_text(cell)) for row in rows for cell in row if isinstance(cell, str | bytes)):
                return True
    return False


def _text(cell: str | bytes) -> str:
    return cell if isinstance(cell, str) else cell.decode(errors="replace")
