"""Progress of a test run: one line per file with the time left, and a summary of what was verified.

The time left is estimated from `seconds.yaml`, which has the duration of each test file, and from the pace so far.
"""

import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

SECONDS = Path(__file__).with_name("seconds.yaml")
SECONDS_PER_TEST = 0.1  # for files that seconds.yaml does not list
SHORT = 5.0  # shorter files are not listed in seconds.yaml
START_SECONDS = 30.0  # weight of the expected pace, so that the first files don't distort the estimate


def expected_seconds(tests_by_file: Counter[str]) -> dict[str, float]:
    """Return the expected seconds of each test file, by its path from the project's root."""
    known: dict[str, float] = yaml.safe_load(SECONDS.read_text(encoding="utf-8")) or {}
    return {file: known.get(file, tests * SECONDS_PER_TEST) for file, tests in tests_by_file.items()}


def file_of(nodeid: str) -> str:
    """Return the test file of a test."""
    return nodeid.split("::", 1)[0]


def minutes(seconds: float) -> str:
    """Format a duration."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Progress:
    """Prints a line when all tests of a file are done, and a last line with what the tests verified.

    A test records a number with `record_property(name, number)`; numbers with the same name are added.

    Args:
        config: pytest's configuration.
        workers: number of processes that run tests.
    """

    def __init__(self, config: pytest.Config, workers: int) -> None:
        self._config = config
        self._workers = workers
        self._started = time.monotonic()
        self._left: Counter[str] = Counter()
        self._expected: dict[str, float] = {}
        self._tests: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {}
        self._took: Counter[str] = Counter()
        self.verified: Counter[str] = Counter()

    def expect(self, nodeids: list[str]) -> None:
        """Store which tests will run."""
        if not self._tests:  # every worker reports the same tests
            self._tests = Counter(map(file_of, nodeids))
            self._left = Counter(self._tests)
            self._expected = expected_seconds(self._tests)
            self._started = time.monotonic()

    def pytest_sessionstart(self) -> None:
        """Print no file name before its tests have ended."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Store the tests of this process; called without workers."""
        self.expect([item.nodeid for item in items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Store the tests that a worker collected; called with workers."""
        self.expect([nodeid.rsplit("@", 1)[0] for nodeid in ids])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letter for a test that passed, because its file gets a line."""
        if report.passed:
            return ("passed", "", "PASSED") if report.when == "call" else ("", "", "")
        if report.skipped:
            return "skipped", "", "SKIPPED"
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of a test; prints the file's line after the last phase of its last test."""
        file = file_of(report.nodeid)
        self._took[file] += report.duration  # type: ignore[assignment]  # seconds
        outcomes = self._outcomes.setdefault(file, Counter())
        if report.when == "call" or not report.passed:
            outcomes[report.outcome] += 1
        if report.when != "teardown":
            return
        self.verified.update({name: value for name, value in report.user_properties if isinstance(value, int)})
        self._left[file] -= 1
        if not self._left[file]:
            summary = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            self._print(f"{self._share():4.0%}  {file}: {summary} in {minutes(self._took[file])}; {self._remaining()}")

    def _seconds_left(self) -> float:
        return sum(self._expected[file] * left / self._tests[file] for file, left in self._left.items())

    def _share(self) -> float:
        return 1 - self._seconds_left() / (sum(self._expected.values()) or 1)

    def _remaining(self) -> str:
        """Return the time left at the pace so far."""
        left, passed = self._seconds_left(), time.monotonic() - self._started
        done = sum(self._expected.values()) - left
        pace = (done + START_SECONDS * self._workers) / (passed + START_SECONDS)
        return f"about {minutes(left / pace)} left" if left > 1 else "done"

    def _print(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one line with what was verified."""
        passed = len(terminalreporter.stats.get("passed", []))
        facts = [f"{passed:,} tests", *(f"{number:,} {name}" for name, number in sorted(self.verified.items()))]
        took = minutes(time.monotonic() - self._started)
        terminalreporter.write_line(f"Verified in {took}: {', '.join(facts)}.")

    def pytest_sessionfinish(self) -> None:
        """With `--store-seconds`: store the duration of the test files for the next run."""
        if self._config.getoption("--store-seconds"):
            known: dict[str, float] = yaml.safe_load(SECONDS.read_text(encoding="utf-8")) or {}
            known |= {file: round(took) for file, took in self._took.items()}
            long_files = {file: seconds for file, seconds in sorted(known.items()) if seconds >= SHORT}
            comment = SECONDS.read_text(encoding="utf-8").split("\n", 1)[0]
            SECONDS.write_text(f"{comment}\n{yaml.safe_dump(long_files)}", encoding="utf-8")
