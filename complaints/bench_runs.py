"""How a benchmark command runs: what is sent, progress on the terminal, and where the result is stored."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.live import Live

from complaints import Invocation, print_json, terminal
from complaints.load import SAMPLES
from complaints.stream import grid, stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench, Watcher
    from streaming.runs.run import Plan


def plan_of(total: int, narratives: float, *, rate: float = float("inf"), warm_up: float | None = None) -> "Plan":
    """Return a plan that sends new complaints only, made from the samples."""
    from bronze.load import files_of
    from streaming.kafka.generator import Mix
    from streaming.runs.run import Plan

    return Plan(rate, total, tuple(files_of([SAMPLES])), Mix(), narratives=narratives, warm_up_s=warm_up)


def measured(
    invocation: Invocation, measure: "Callable[[Watcher], Bench]", *, as_json: bool, ends_early: bool = False
) -> "Bench":
    """Run a benchmark and store it; on Ctrl-C one with `ends_early` reports what it has, any other reports nothing."""
    with stopping() if ends_early else nullcontext(threading.Event()) as stop, _watched(stop) as watcher:
        found = measure(watcher)
    path = found.store(invocation.settings().folder / "reports")
    terminal().print(f"Metrics: {path}; the chart is next to it.", soft_wrap=True)
    if as_json:
        print_json({"bench": found.name, **found.figures})
    return found


@contextmanager
def _watched(stop: threading.Event) -> "Iterator[Watcher]":
    from benchmarks.bench import Watcher

    console = terminal()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Watcher(
            notify=lambda sentence: live.console.print(sentence, markup=False, soft_wrap=True),
            on_view=lambda view: live.update(grid(view), refresh=True),
            stop=stop,
        )
