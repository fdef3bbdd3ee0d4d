"""A stream to which faults are done at random, and which loses nothing: `complaints verify` says so after each.

Faults are of three kinds: those that a running stream gets over, those that end it, and those that are done to a lake
while nothing streams. They are drawn from a seed; what they meet then is a matter of the moment.
"""

import random
import time
from collections.abc import Iterator

from lakehouse.tables.writer_lock import BusyError
from tests.streaming.service.fault_world import AN_END, Fault, World
from tests.streaming.service.idle_faults import RESTING
from tests.streaming.service.running_faults import ENDING, RUNNING

FAULTS = {**RUNNING, **ENDING, **RESTING}
_TURNS: tuple[tuple[dict[str, Fault], tuple[int, int]], ...] = ((RUNNING, (3, 7)), (ENDING, (1, 1)), (RESTING, (1, 4)))


def drawn(dice: random.Random, names: set[str]) -> Iterator[str]:
    """Names of faults without end: some that the stream gets over, one that ends it, some in its absence, and again."""
    kinds = [([name for name in kind if name in names], counts) for kind, counts in _TURNS]
    while True:
        for enabled, (least, most) in kinds:
            if enabled:
                yield from dice.choices(enabled, k=dice.randint(least, most))


def do(world: World, name: str) -> None:
    """Do a fault and count; a stream that runs afterwards has settled before."""
    began = time.monotonic()
    number = sum(world.done.values()) + 1
    try:
        if name in RESTING:
            world.end()
            rested(world, FAULTS[name])
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
    spent = time.monotonic() - began
    world.done[name] += 1
    world.seconds[name] += round(spent)
    world.say(f"{number:>4}  {name:<16} {spent:5.1f} s  {world.sent:,} sent")


def rested(world: World, fault: Fault) -> None:
    """Do a fault once nobody writes the lake: a Spark that lost its Python may take a while to end."""
    end = time.monotonic() + AN_END
    while True:
        try:
            return fault(world)
        except BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
