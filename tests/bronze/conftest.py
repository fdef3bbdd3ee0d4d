"""Helpers that write test files and read their records with `open_members`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from bronze.files import open_members
from bronze.records import FileRecord

KNOWN = {"complaintid", "product", "issue", "state", "narrative", "a"}


HEADER = "Complaint ID,Product,Issue,State,Narrative\n"


CHARACTERS = st.characters(exclude_categories=["Cs"])  # all but lone surrogates, which are invalid in UTF-8


Write = Callable[[str | bytes], Path]


def read(path: Path) -> list[FileRecord]:
    return [record for member in open_members(path, KNOWN) for record in member.records()]


def payloads(path: Path) -> list[str | None]:
    return [record.payload for record in read(path)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
