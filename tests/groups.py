"""Which tests run one after another in one process, when two processes share them (`-n 2 --dist loadgroup`).

A process that starts Spark needs minutes until its code is compiled. So all tests that call Spark in their own process
are in one group; those that start programs of their own, and those that need no Spark, go by file to the other process.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from tests.progress import expected_seconds, file_of

SPARK = "spark"
CALLS_SPARK = {"spark", "lake"}  # where a module has a `lake` of its own, pytest does not name what that stands on
LAKES = {"trained_lake", "scored_lake"}


def group_of(item: pytest.Item) -> str:
    """The group of a test."""
    return SPARK if CALLS_SPARK & _fixtures(item) else file_of(item.nodeid)


def grouped(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in order: first those that call Spark, then the others, the longest file first.

    Lakes that Spark makes are made while the other process runs what needs none.
    """
    tests = Counter(file_of(item.nodeid) for item in items)
    expected = expected_seconds(tests)
    groups: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        groups[group_of(item)].append(item)

    def place(name: str) -> tuple[bool, bool, float]:
        seconds = sum(expected[file_of(item.nodeid)] / tests[file_of(item.nodeid)] for item in groups[name])
        return name != SPARK, any(LAKES & _fixtures(item) for item in groups[name]), -seconds

    first = next((file_of(item.nodeid) for item in groups[SPARK] if LAKES & _fixtures(item)), "")
    groups[SPARK].sort(key=lambda item: file_of(item.nodeid) != first)
    return [item for name in sorted(groups, key=place) for item in groups[name]]


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))
