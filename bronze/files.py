"""Read export files of complaints: CSV or JSON, plain, gzip or zip, detected by content, never by name.

Reads files of any size in bounded memory and yields their records as received. Writes nothing.
"""

import gzip
import hashlib
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Literal, cast

from bronze.csv_dialect import Dialect, dialect_of
from bronze.csv_records import CsvRecords
from bronze.json_records import JsonRecords
from bronze.records import FileRecord, key_of
from lakehouse.errors import ComplaintsError

BLOCK = 1 << 18  # bytes read at a time, and used to detect the kind of file
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_JSON = re.compile(rb'\{\s*(["}]|$)|\[\s*([\[{"\]]|$)')
_OFFICE = "[Content_Types].xml"
_OTHERS = {
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}
_REMEDY = "give a CSV or JSON export of complaints in UTF-8, plain, gzip or zip"

log = logging.getLogger(__name__)


class _Bytes(io.RawIOBase):
    """An unpacked stream that ends where its file is truncated, and records that in `is_cut`."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self.is_cut = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read1(len(buffer))  # type: ignore[attr-defined]  # read() loses data before an error
        except EOFError:
            self.is_cut = True
            return 0
        except (OSError, zlib.error, zipfile.BadZipFile) as error:
            raise _error(self._name, f"is damaged ({error})", "get a new copy") from error
        buffer[: len(data)] = data
        return len(data)


class Member:
    """A readable CSV or JSON file, or one inside a zip archive.

    Args:
        path: the file.
        inner: the name of the member if the file is a zip archive.
        known_keys: field names, lower case, letters and digits only; a CSV header must contain one of them.

    Attributes:
        name: the file's name; in an archive ``archive.zip/member``.
        source: the kind of file, csv or json.

    Raises:
        ComplaintsError: the file can't be read, or is not CSV or JSON with complaints; says what was found.
    """

    def __init__(self, path: Path, inner: str | None, known_keys: Collection[str]) -> None:
        self._path = path
        self._inner = inner
        self._known_keys = known_keys
        self._dialect = Dialect()
        self.name = path.name if inner is None else f"{path.name}/{inner}"
        self.source = self._detect_source(known_keys)

    def records(self) -> Iterator[FileRecord]:
        """Yield the records in file order.

        Raises:
            ComplaintsError: the file can't be read to its end; the records yielded so far are complete.
        """
        with self._bytes() as unpacked:
            text = _text(unpacked, self._dialect.line_end)
            if self.source == "csv":
                yield from CsvRecords(text, lambda: unpacked.is_cut, self._dialect)
            else:
                yield from JsonRecords(text, lambda: unpacked.is_cut, self._known_keys)

    def _detect_source(self, known_keys: Collection[str]) -> Literal["csv", "json"]:
        with self._bytes() as unpacked:
            head = io.BufferedReader(unpacked, BLOCK).read(BLOCK)
        found = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if found is None and not start:
            found = "empty"
        if found is None and b"\0" in start[:1] + start.partition(b"\n")[0]:
            found = "binary"
        if found is not None:
            raise _error(self.name, f"is {found}", _REMEDY)
        if _JSON.match(start):
            return "json"
        self._dialect = dialect_of(head.decode(errors="surrogateescape"), known_keys)
        header = CsvRecords(_text(io.BytesIO(head), self._dialect.line_end), lambda: False, self._dialect).names
        if not any(key_of(cell) in known_keys for cell in header):
            shown = ", ".join(repr(cell[:30]) for cell in header[:3])
            msg = f"begins with {shown}, in which no field of a complaint is named"
            raise _error(self.name, msg, "the first line must hold names such as Complaint ID, Product, Issue")
        return "csv"

    @contextmanager
    def _bytes(self) -> Iterator[_Bytes]:
        """Open the unpacked content."""
        with ExitStack() as open_files:
            try:
                stream: IO[bytes] = open_files.enter_context(self._path.open("rb"))
                if self._inner is not None:
                    archive = open_files.enter_context(zipfile.ZipFile(stream))
                    stream = open_files.enter_context(archive.open(self._inner))
                if stream.read(2) == _GZIP:
                    stream.seek(0)
                    stream = cast("IO[bytes]", open_files.enter_context(gzip.GzipFile(fileobj=stream)))
                else:
                    stream.seek(0)
            except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
                raise _error(self.name, f"can't be opened ({error})", _REMEDY) from error
            yield _Bytes(stream, self.name)


def open_members(path: Path, known_keys: Collection[str]) -> list[Member]:
    """Return the loadable files of a path: the file itself, or every CSV and JSON file of a zip archive.

    Other files in an archive (a read-me, a picture) are skipped, unless their names say that they are CSV or JSON.

    Args:
        path: the file.
        known_keys: field names, lower case, letters and digits only; a CSV header must contain one of them.

    Raises:
        ComplaintsError: it is missing, empty, damaged or something else; names the file, what was found and the fix.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic not in _ZIP:
            return [Member(path, None, known_keys)]
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except IsADirectoryError as error:
        raise _error(path.name, "is a folder", "name the files in it") from error
    except OSError as error:
        raise _error(str(path), f"can't be read ({error.strerror})", "check the path and its permissions") from error
    except zipfile.BadZipFile as error:
        raise _error(path.name, f"is a damaged zip archive ({error})", "get a new copy") from error
    if _OFFICE in names:
        raise _error(path.name, "is an Excel or Word document", "save it as CSV in UTF-8")
    members = list(_members(path, names, known_keys))
    if not members:
        raise _error(path.name, "is a zip archive without a CSV or JSON file of complaints", _REMEDY)
    return members


def _members(path: Path, names: list[str], known_keys: Collection[str]) -> Iterator[Member]:
    for name in names:
        is_data = name.lower().endswith((".csv", ".json", ".jsonl", ".ndjson", ".gz"))
        if name.startswith("__MACOSX/"):
            continue
        try:
            yield Member(path, name, known_keys)
        except ComplaintsError as error:
            if is_data:
                raise
            log.info("skipped: %s", error)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        ComplaintsError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _error(str(path), f"can't be read ({error.strerror})", "check the path and its permissions") from error


def _text(stream: io.RawIOBase | io.BytesIO, line_end: str = "\n") -> io.TextIOWrapper:
    """Decode a stream so that invalid UTF-8 bytes can be restored; line endings are unchanged."""
    buffered = io.BufferedReader(stream, BLOCK) if isinstance(stream, io.RawIOBase) else stream
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline=line_end)


def _error(name: str, found: str, remedy: str) -> ComplaintsError:
    return ComplaintsError(f"{name} {found}: {remedy}.")
