"""Which tests run one after another in one process, when two processes share them (`-n 2 --dist loadgroup`).

A process that starts Spark needs minutes until its code is compiled. So the tests that call Spark in their own process
are in two groups, one for each process: what streams, and the rest. Those that start programs of their own, and those
that need no Spark, go by file to whichever process has time.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from tests.progress import expected_seconds, file_of

STREAMING, SPARK = "spark, streaming", "spark"
STREAMS = ("tests/streaming/", "tests/stewardship/", "tests/monitoring/", "tests/databricks/")
CALLS_SPARK = {"spark", "lake"}  # where a module has a `lake` of its own, pytest does not name what that stands on
LAKES = {"trained_lake", "scored_lake"}


def group_of(item: pytest.Item) -> str:
    """The group of a test."""
    if CALLS_SPARK & _fixtures(item):
        return STREAMING if item.nodeid.startswith(STREAMS) else SPARK
    return file_of(item.nodeid)


def grouped(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in order: first those that call Spark, then the others, each the longest first.

    Lakes that tests share are made by one process while the other runs what needs none.
    """
    tests = Counter(file_of(item.nodeid) for item in items)
    expected = expected_seconds(tests)
    groups: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        groups[group_of(item)].append(item)

    def place(name: str) -> tuple[bool, bool, float]:
        seconds = sum(expected[file_of(item.nodeid)] / tests[file_of(item.nodeid)] for item in groups[name])
        return name not in {STREAMING, SPARK}, any(LAKES & _fixtures(item) for item in groups[name]), -seconds

    first = next((file_of(item.nodeid) for item in groups[STREAMING] if LAKES & _fixtures(item)), "")
    groups[STREAMING].sort(key=lambda item: file_of(item.nodeid) != first)
    return [item for name in sorted(groups, key=place) for item in groups[name]]


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))
