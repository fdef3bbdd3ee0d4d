"""What a test run says while it runs: a line a file, how long is left, and at the end what was proven.

How long is left comes from `seconds.yaml`, which says what each test file took before, and from the pace so far.
"""

import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

SECONDS = Path(__file__).with_name("seconds.yaml")
SECONDS_A_TEST = 0.1  # of a file that seconds.yaml does not name
SHORT = 5.0  # seconds of a file that is not worth naming
START_SECONDS = 30.0  # so long the pace is the one that seconds.yaml expects


def expected_seconds(tests_by_file: Counter[str]) -> dict[str, float]:
    """Seconds that each test file is expected to take, by its path from the project's root."""
    known: dict[str, float] = yaml.safe_load(SECONDS.read_text(encoding="utf-8")) or {}
    return {file: known.get(file, tests * SECONDS_A_TEST) for file, tests in tests_by_file.items()}


def file_of(nodeid: str) -> str:
    """The test file that a test is in."""
    return nodeid.split("::", 1)[0]


def minutes(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Progress:
    """Prints a line when all tests of a file have ended, and a last line with what the tests recorded as proven.

    A test records with `record_property(what, number)`: numbers of the same name are added up.

    Args:
        config: pytest's.
        workers: how many processes run tests.
    """

    def __init__(self, config: pytest.Config, workers: int) -> None:
        self._config = config
        self._workers = workers
        self._began = time.monotonic()
        self._left: Counter[str] = Counter()
        self._expected: dict[str, float] = {}
        self._tests: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {}
        self._took: Counter[str] = Counter()
        self.proven: Counter[str] = Counter()

    def expect(self, nodeids: list[str]) -> None:
        """Take in which tests will run."""
        if not self._tests:  # each worker tells the same
            self._tests = Counter(map(file_of, nodeids))
            self._left = Counter(self._tests)
            self._expected = expected_seconds(self._tests)
            self._began = time.monotonic()

    def pytest_sessionstart(self) -> None:
        """No name of a file before its tests have ended."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Without workers: the tests of this process."""
        self.expect([item.nodeid for item in items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With workers: the tests that one of them has found."""
        self.expect([nodeid.rsplit("@", 1)[0] for nodeid in ids])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No letter for a test that passed: its file has a line."""
        if report.passed:
            return ("passed", "", "PASSED") if report.when == "call" else ("", "", "")
        if report.skipped:
            return "skipped", "", "SKIPPED"
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of a test; a file's line is due with the last phase of its last test."""
        file = file_of(report.nodeid)
        self._took[file] += report.duration  # type: ignore[assignment]  # seconds
        outcomes = self._outcomes.setdefault(file, Counter())
        if report.when == "call" or not report.passed:
            outcomes[report.outcome] += 1
        if report.when != "teardown":
            return
        self.proven.update({name: value for name, value in report.user_properties if isinstance(value, int)})
        self._left[file] -= 1
        if not self._left[file]:
            told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            self._say(f"{self._share():4.0%}  {file}: {told} in {minutes(self._took[file])}; {self._remaining()}")

    def _seconds_left(self) -> float:
        return sum(self._expected[file] * left / self._tests[file] for file, left in self._left.items())

    def _share(self) -> float:
        return 1 - self._seconds_left() / (sum(self._expected.values()) or 1)

    def _remaining(self) -> str:
        """How long is left, at the pace so far."""
        left, passed = self._seconds_left(), time.monotonic() - self._began
        done = sum(self._expected.values()) - left
        pace = (done + START_SECONDS * self._workers) / (passed + START_SECONDS)
        return f"about {minutes(left / pace)} left" if left > 1 else "done"

    def _say(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line of what was proven."""
        passed = len(terminalreporter.stats.get("passed", []))
        facts = [f"{passed:,} tests", *(f"{number:,} {name}" for name, number in sorted(self.proven.items()))]
        took = minutes(time.monotonic() - self._began)
        terminalreporter.write_line(f"Proven in {took}: {', '.join(facts)}.")

    def pytest_sessionfinish(self) -> None:
        """With `--store-seconds`: note what the files took, for the next run."""
        if self._config.getoption("--store-seconds"):
            known: dict[str, float] = yaml.safe_load(SECONDS.read_text(encoding="utf-8")) or {}
            known |= {file: round(took) for file, took in self._took.items()}
            kept = {file: seconds for file, seconds in sorted(known.items()) if seconds >= SHORT}
            comment = SECONDS.read_text(encoding="utf-8").split("\n", 1)[0]
            SECONDS.write_text(f"{comment}\n{yaml.safe_dump(kept)}", encoding="utf-8")
