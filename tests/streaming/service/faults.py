"""Random faults injected into a stream; `complaints verify` checks after each that nothing was lost.

There are three kinds of faults: those that a running stream recovers from, those that end it, and those injected into
a lake while no stream runs. The sequence is reproducible from a seed; the moment at which a fault hits is not.
"""

import random
import time
from collections.abc import Iterator

from lakehouse.tables.writer_lock import BusyError
from tests.stream_fixtures import WAIT_SECONDS
from tests.streaming.service.fault_world import Fault, World
from tests.streaming.service.idle_faults import RESTING
from tests.streaming.service.running_faults import ENDING, RUNNING

FAULTS = {**RUNNING, **ENDING, **RESTING}
_TURNS: tuple[tuple[dict[str, Fault], tuple[int, int]], ...] = ((RUNNING, (3, 7)), (ENDING, (1, 1)), (RESTING, (1, 4)))


def drawn(dice: random.Random, names: set[str]) -> Iterator[str]:
    """Yield fault names forever: some it recovers from, one that ends the stream, some while it is down."""
    kinds = [([name for name in kind if name in names], counts) for kind, counts in _TURNS]
    while True:
        for enabled, (least, most) in kinds:
            if enabled:
                yield from dice.choices(enabled, k=dice.randint(least, most))


def do(world: World, name: str) -> None:
    """Inject one fault and verify; if a stream runs afterwards, wait until it has settled first."""
    start = time.monotonic()
    number = sum(world.done.values()) + 1
    try:
        if name in RESTING:
            world.end()
            retry_while_busy(world, FAULTS[name])
        else:
            world.up()
            FAULTS[name](world)
        if world.stream is None:
            world.verified()
        else:
            world.settle()
    except BaseException:
        world.say(f"{number:>4}  {name:<16} FAILED")
        raise
    spent = time.monotonic() - start
    world.done[name] += 1
    world.seconds[name] += round(spent)
    world.say(f"{number:>4}  {name:<16} {spent:5.1f} s  {world.sent:,} sent")


def retry_while_busy(world: World, fault: Fault) -> None:
    """Inject a fault once no process writes the lake.

    A Spark whose Python was killed may take a while to exit.
    """
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return fault(world)
        except BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
