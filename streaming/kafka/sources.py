"""Records of export files as Kafka messages, unchanged."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bronze.files import open_members
from bronze.records import FileRecord
from silver.fields import BY_NAME, KNOWN_KEYS, normalized
from silver.payload import cells_of
from streaming.kafka.generator import Message


def messages_of(paths: Iterable[Path]) -> Iterator[Message]:
    """Return the files' records in order: value as received, key the complaint id or empty.

    Raises:
        ComplaintsError: a file can't be read; raised at once if it is not an export, during iteration if damaged.
    """
    members = [member for path in paths for member in open_members(path, KNOWN_KEYS)]
    return (_message(record) for member in members for record in member.records())


def _message(record: FileRecord) -> Message:
    value = record.payload_bytes if record.payload is None else record.payload.encode()
    return Message(_key(record.payload or ""), value or b"", "new")


def _key(payload: str) -> bytes:
    cells = cells_of(payload) or {}
    ids = (str(value) for name, value in cells.items() if normalized(name) in BY_NAME["complaint_id"].keys)
    return next(ids, "").encode(errors="replace")
