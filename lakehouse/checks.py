"""Checks that say what this machine has and what it lacks, each in one line; independent ones run side by side."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from lakehouse.errors import ComplaintsError


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        what: its name.
        run: does it and gives what was found; raises ComplaintsError with what is wrong and the remedy.
        needs: names of checks without which this one can't succeed.
    """

    what: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check found: the detail, or the sentence that says what is wrong; how long it took.

    `error` is what was raised, when something was.
    """

    what: str
    is_ok: bool
    detail: str
    seconds: float
    error: Exception | None = None


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """The findings as they come; each check begins when those that it needs have ended well."""
    waiting = list(checks)
    found: dict[str, Finding] = {}
    running: set[Future[Finding]] = set()
    with ThreadPoolExecutor(max(1, len(waiting))) as pool:
        while waiting or running:
            for check in [check for check in waiting if found.keys() >= set(check.needs)]:
                waiting.remove(check)
                running.add(pool.submit(_checked, check, [found[name] for name in check.needs]))
            done = next(as_completed(running))
            running.remove(done)
            finding = done.result()
            found[finding.what] = finding
            yield finding


def _checked(check: Check, needed: Iterable[Finding]) -> Finding:
    lacking = [finding.what for finding in needed if not finding.is_ok]
    if lacking:
        return Finding(check.what, is_ok=False, detail=f"not checked: see {', '.join(lacking)}", seconds=0.0)
    began = time.monotonic()
    error: Exception | None = None
    try:
        detail = check.run()
    except ComplaintsError as found:
        detail, error = str(found), found
    except Exception as found:  # noqa: BLE001 - whatever one check meets, the others still tell what they found
        first = (str(found).strip().splitlines() or [""])[0]
        detail = f"It failed unforeseen ({type(found).__name__}: {first}): see `complaints --debug setup`."
        error = found
    return Finding(check.what, error is None, detail, round(time.monotonic() - began, 1), error)
