"""Search files for text in any format: plain, gzip, zip, Parquet, SQLite, DuckDB, and archives inside archives."""

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
OVERLAP = 1 << 12  # bytes searched twice, so that a match across two chunks is found
IN_MEMORY = 1 << 28  # bytes: larger archive members are searched as a stream
_ROW = "concat_ws(chr(10), *COLUMNS(*))"  # every cell of a row as text


class UnreadableError(Exception):
    """Raised when a file can't be read as the format that its first bytes indicate."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder; symbolic links are not followed."""
    for root, _, names in os.walk(folder):
        yield from (path for name in sorted(names) if (path := Path(root) / name).is_file() and not path.is_symlink())


def holds(path: Path, wanted: str) -> bool:
    """Whether a pattern matches anywhere in a file, in its raw bytes or its unpacked content.

    Args:
        path: the file; False if it no longer exists.
        wanted: a regular expression in ASCII that means the same in Python and DuckDB.

    Raises:
        UnreadableError: the file can't be unpacked, so the answer is unknown.
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
    """Whether the pattern matches in the bytes, or in the gzip stream or zip archive that they are."""
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
        return _any_row_matches(connection, "read_parquet($path)", {"path": str(path)}, wanted)


def _duckdb_holds(path: Path, wanted: str) -> bool:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        return any(_any_row_matches(connection, f'"{schema}"."{name}"', {}, wanted) for schema, name in tables)


def _any_row_matches(connection: duckdb.DuckDBPyConnection, rows: str, parameters: dict[str, str], wanted: str) -> bool:
    found = f"SELECT 1 FROM {rows} WHERE regexp_matches({_ROW}, $wanted) LIMIT 1"  # noqa: S608 - existing names
    return connection.execute(found, {**parameters, "wanted": wanted}).fetchone() is not None


def _sqlite_holds(path: Path, wanted: str) -> bool:
    pattern = re.compile(wanted)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - an existing table
            if any(pattern.search(_text(cell)) for row in rows for cell in row if isinstance(cell, str | bytes)):
                return True
    return False


def _text(cell: str | bytes) -> str:
    return cell if isinstance(cell, str) else cell.decode(errors="replace")
