"""The data dictionary in docs/ is what the table declarations say."""

import subprocess
import sys

from tests.rooms import PROJECT


def test_the_page_of_tables_is_current() -> None:
    command = [sys.executable, "-m", "streaming.tables"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert (PROJECT / "docs" / "tables.md").read_text(encoding="utf-8") == printed, "run `make docs`"
