"""Checks that report what a machine has and what is missing, one line each; independent checks run in parallel."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from lakehouse.errors import ComplaintsError


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        what: the check's name.
        run: performs the check and returns what it found; raises ComplaintsError with the problem and the fix.
        needs: names of the checks that must pass before this one can.
    """

    what: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        what: the check's name.
        is_ok: whether it passed.
        detail: what was found, or the sentence that says what is wrong.
        seconds: how long the check took.
        error: the exception that the check raised, if any.
    """

    what: str
    is_ok: bool
    detail: str
    seconds: float
    error: Exception | None = None


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield each finding as its check ends; a check starts once all the checks that it needs have ended."""
    waiting = list(checks)
    found: dict[str, Finding] = {}
    running: set[Future[Finding]] = set()
    with ThreadPoolExecutor(max(1, len(waiting))) as pool:
        while waiting or running:
            for check in [check for check in waiting if found.keys() >= set(check.needs)]:
                waiting.remove(check)
                running.add(pool.submit(_run_check, check, [found[name] for name in check.needs]))
            done = next(as_completed(running))
            running.remove(done)
            finding = done.result()
            found[finding.what] = finding
            yield finding


def _run_check(check: Check, needed: Iterable[Finding]) -> Finding:
    failed = [finding.what for finding in needed if not finding.is_ok]
    if failed:
        return Finding(check.what, is_ok=False, detail=f"not checked: see {', '.join(failed)}", seconds=0.0)
    started = time.monotonic()
    error: Exception | None = None
    try:
        detail = check.run()
    except ComplaintsError as found:
        detail, error = str(found), found
    except Exception as found:  # noqa: BLE001 - a check that crashes must not stop the others
        first = (str(found).strip().splitlines() or [""])[0]
        detail = f"It failed unexpectedly ({type(found).__name__}: {first}): see `complaints --debug setup`."
        error = found
    return Finding(check.what, error is None, detail, round(time.monotonic() - started, 1), error)
