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
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Literal, cast

from bronze.csv_dialect import Dialect, dialect_of
from bronze.csv_records import CsvRecords
from bronze.json_records import JsonRecords
from bronze.json_shape import foreign_keys
from bronze.records import BYTE_ORDER_MARK, FileRecord, key_of
from lakehouse.errors import ComplaintsError

BLOCK = 1 << 18  # bytes read at a time, and used to detect the kind of file
_GZIP = b"\x1f\x8b"
_NO_GZIP = "Not a gzipped file"  # the gzip module's words where it expects a file's next part
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_JSON = re.compile(r'\{\s*(["}]|$)|\[\s*([\[{"\]]|$)')
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
_UTF16 = re.compile(rb"(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4}")
_HTML = re.compile(rb"<(?:!doctype html|html)\b", re.IGNORECASE)
_REMEDY = "give a CSV or JSON export of complaints in UTF-8, plain, gzip or zip"

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".zip")  # of files that are data, in any case

log = logging.getLogger(__name__)


class _NoComplaintsError(ComplaintsError):
    """A file is empty, or can be read and names no field of a complaint."""


class _Bytes(io.RawIOBase):
    """An unpacked stream that ends where its file is truncated, and records that in `is_cut`.

    It also ends at bytes behind gzip data that are not gzip data, and records that in `is_followed`.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self.is_cut = False
        self.is_followed = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read1(len(buffer))  # type: ignore[attr-defined]  # read() loses data before an error
        except EOFError:
            self.is_cut = True
            return 0
        except (OSError, zlib.error, zipfile.BadZipFile) as error:
            if isinstance(error, gzip.BadGzipFile) and str(error).startswith(_NO_GZIP):
                self.is_followed = True
                return 0
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
        unknown_names: the columns or keys of the records read so far that are no known field.
        warnings: what was left out of the records read so far, a sentence each.

    Raises:
        ComplaintsError: the file can't be read, or is not CSV or JSON with complaints; says what was found.
    """

    def __init__(self, path: Path, inner: str | None, known_keys: Collection[str]) -> None:
        self._path = path
        self._inner = inner
        self._known_keys = known_keys
        self._dialect = Dialect()
        self.name = path.name if inner is None else f"{path.name}/{inner}"
        self.unknown_names: list[str] = []
        self.warnings: list[str] = []
        self.source = self._detect_source()

    def records(self) -> Iterator[FileRecord]:
        """Yield the records in file order.

        Raises:
            ComplaintsError: the file can't be read to its end; the records yielded so far are complete.
        """
        self.warnings.clear()
        with self._bytes() as unpacked:
            reader = self._reader(unpacked, lambda: unpacked.is_cut)
            yield from reader
            self.unknown_names = self._unknown(reader.names)
            if unpacked.is_followed:
                self.warnings.append(f"{self.name} has bytes after its gzip data that are not gzip; they were ignored.")

    def _reader(self, unpacked: io.RawIOBase | io.BytesIO, is_cut: Callable[[], bool]) -> CsvRecords | JsonRecords:
        if self.source == "csv":
            return CsvRecords(_text(unpacked, self._dialect.line_end), is_cut, self._dialect)
        return JsonRecords(_text(unpacked), is_cut, self._known_keys)

    def _unknown(self, names: Iterable[str]) -> list[str]:
        """The names, in order and once each, that are no known field; columns without a name have nothing to tell."""
        return [name for name in dict.fromkeys(names) if name.strip() and key_of(name) not in self._known_keys]

    def _detect_source(self) -> Literal["csv", "json"]:
        with self._bytes() as unpacked:
            head = io.BufferedReader(unpacked, BLOCK).read(BLOCK)
        if found := _other_kind(head):
            raise _error(self.name, f"is {found}", _REMEDY)
        if not head.removeprefix(BYTE_ORDER_MARK.encode()).strip():
            raise _error(self.name, "is empty", _REMEDY, _NoComplaintsError)
        text = head.decode(errors="surrogateescape").lstrip(BYTE_ORDER_MARK)
        if _JSON.match(text.lstrip()):
            if (keys := foreign_keys(text, self._known_keys)) is None:
                return "json"
            named, remedy = keys, "each complaint must be an object with names such as complaint_id, product, issue"
        else:
            self._dialect = dialect_of(text, self._known_keys)
            named = CsvRecords(_text(io.BytesIO(head), self._dialect.line_end), lambda: False, self._dialect).names
            if any(key_of(name) in self._known_keys for name in named):
                return "csv"
            remedy = "the first line must hold names such as Complaint ID, Product, Issue"
        shown = ", ".join(repr(name[:30]) for name in named[:3])
        msg = f"begins with {shown or 'no name'}, in which no field of a complaint is named"
        raise _error(self.name, msg, remedy, _NoComplaintsError)

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


def open_members(path: Path, known_keys: Collection[str], on_skipped: Callable[[str], None] = log.info) -> list[Member]:
    """Return the loadable files of a path: the file itself, or every CSV and JSON file of a zip archive.

    Files in an archive without complaints (a read-me, a codebook, a picture) are skipped, unless all are. One that is
    CSV or JSON by its name and can't be read is an error.

    Args:
        path: the file.
        known_keys: the keys (`key_of`) of the known fields; a header or a JSON object must name one of them.
        on_skipped: called with a sentence for each skipped file of an archive.

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
    return _members(path, [name for name in names if not is_system_file(name)], known_keys, on_skipped)


def _members(
    path: Path, names: list[str], known_keys: Collection[str], on_skipped: Callable[[str], None]
) -> list[Member]:
    members: list[Member] = []
    skipped: dict[str, ComplaintsError] = {}
    for name in names:
        try:
            members.append(Member(path, name, known_keys))
        except ComplaintsError as error:
            if name.lower().endswith(SUFFIXES) and not isinstance(error, _NoComplaintsError):
                raise
            skipped[name] = error
    if not members:
        data = (error for name, error in skipped.items() if name.lower().endswith(SUFFIXES))
        raise next(data, _error(path.name, "is a zip archive without a CSV or JSON file of complaints", _REMEDY))
    for reason in skipped.values():
        on_skipped(f"Skipped: {reason}")
    return members


def is_system_file(name: str) -> bool:
    """Whether a path is a file that macOS adds to folders and archives, and that holds no data of the user."""
    parts = Path(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store"


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


def _other_kind(head: bytes) -> str | None:
    """What a file is, by its beginning, if it is neither CSV nor JSON."""
    if found := next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None):
        return found
    start = head.removeprefix(BYTE_ORDER_MARK.encode()).lstrip()
    if _UTF16.match(start):
        return "UTF-16 text"
    if b"\0" in start[:1] + start.partition(b"\n")[0]:
        return "binary"
    return "a web page" if _HTML.match(start) else None


def _text(stream: io.RawIOBase | io.BytesIO, line_end: str = "\n") -> io.TextIOWrapper:
    """Decode a stream so that invalid UTF-8 bytes can be restored; line endings are unchanged."""
    buffered = io.BufferedReader(stream, BLOCK) if isinstance(stream, io.RawIOBase) else stream
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline=line_end)


def _error(name: str, found: str, remedy: str, kind: type[ComplaintsError] = ComplaintsError) -> ComplaintsError:
    return kind(f"{name} {found}: {remedy}.")
