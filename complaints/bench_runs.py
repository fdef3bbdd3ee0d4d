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


def plan_of(
    total: int, narratives: float, *, rate: float = float("inf"), warm_up: float | None = None, known: int | None = None
) -> "Plan":
    """Return a plan that sends complaints made from the samples: new ones only, or the mix `LIFE` if `known` is given.

    Args:
        total: number of messages.
        narratives: share of complaints with a narrative.
        rate: messages per minute.
        warm_up: seconds.
        known: number of complaints that the lake has before, and that come again too.
    """
    from bronze.load import files_of
    from streaming.kafka.generator import LIFE, Mix
    from streaming.runs.run import Plan

    mix = Mix() if known is None else LIFE
    samples = tuple(files_of([SAMPLES]))
    return Plan(rate, total, samples, mix, narratives=narratives, warm_up_s=warm_up, known=known or 0)


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
