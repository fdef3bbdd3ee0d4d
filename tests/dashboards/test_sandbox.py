"""Superset's processes can't write to the lake, whatever DuckDB allows, or use all memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.sql.query import _delta_extension

SANDBOXED = """
import os, sys
from pathlib import Path
import duckdb
from dashboards.server.sandbox import limit_memory, write_only_beneath

home, lake, extension = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if not write_only_beneath([home, Path("/dev"), home / "not there"]):
    sys.exit(77)
connection = duckdb.connect()
connection.execute(f"LOAD '{extension}'")


def tried(work):
    try:
        work()
    except (duckdb.Error, OSError, MemoryError) as error:
        return type(error).__name__
    return "done"


def blob(path):
    return lambda: connection.execute(f"SELECT write_blob('{path}', 'x'::BLOB)").fetchall()


print(tried(blob(home / "own")), tried(blob(lake / "forged.json")), tried(blob(lake / "commit.json")))
print(tried(lambda: connection.execute(f"COPY (SELECT 1) TO '{lake / 'x.csv'}'")))
print(tried(lambda: (lake / "commit.json").unlink()), tried(lambda: os.truncate(lake / "commit.json", 0)))
print(tried(lambda: (lake / "folder").mkdir()), tried(lambda: (lake / "commit.json").rename(home / "moved")))
print(tried(lambda: os.symlink(lake, lake / "link")), tried(lambda: (lake / "commit.json").read_text()))
assert limit_memory(200 << 20)
print(tried(lambda: connection.execute("SELECT length(repeat('x', 900000000))").fetchall()))
print(connection.execute("SELECT length(repeat('x', 1000))").fetchall())
"""


def test_the_kernel_refuses_writes_of_a_query(tmp_path: Path) -> None:
    home, lake = tmp_path / "superset", tmp_path / "tables"
    home.mkdir()
    lake.mkdir()
    (lake / "commit.json").write_text("as it was")
    command = [sys.executable, "-c", SANDBOXED, str(home), str(lake), str(_delta_extension())]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 77:
        pytest.skip("this system has no Landlock")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "done IOException IOException",
        "IOException",
        "PermissionError PermissionError",
        "PermissionError PermissionError",
        "PermissionError done",
        "OutOfMemoryException",
        "[(1000,)]",
    ]
    assert [path.name for path in lake.iterdir()] == ["commit.json"]
    assert (lake / "commit.json").read_text() == "as it was"
