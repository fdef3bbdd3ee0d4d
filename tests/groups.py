"""Groups of tests that run in the same process when two share them (`-n 2 --dist loadgroup`).

A process that starts Spark needs minutes to warm up the JVM. So the tests that call Spark in their own process form two
groups, one for each process: streaming, and everything else. Tests that start separate programs and tests without Spark
are distributed by file.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from tests.progress import expected_seconds, file_of

STREAMING, SPARK = "spark, streaming", "spark"
STREAMS = ("tests/streaming/", "tests/monitoring/", "tests/databricks/")
CALLS_SPARK = {"spark", "lake"}  # a module's own `lake` hides the fixtures behind it
LAKES = {"trained_lake", "scored_lake"}


def group_of(item: pytest.Item) -> str:
    """Return the group of a test."""
    if CALLS_SPARK & _fixtures(item):
        return STREAMING if item.nodeid.startswith(STREAMS) else SPARK
    return file_of(item.nodeid)


def grouped(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in order: those that call Spark first, then the others, longest groups first.

    One process creates the shared lakes while the other runs tests that need none.
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
